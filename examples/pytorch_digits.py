"""The PyTorch script, after changing the imports: a CNN of 225,034 parameters on 500 digits, 10 epochs of 16 steps."""

import matplotlib.pyplot as plt
import numpy as np
from common import quick, save

import nnfast.nn as nn
import nnfast.nn.functional as F
import nnfast.optim as optim
from nnfast import data
from nnfast.data import transforms, vision
from nnfast.nn import torch

transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
try:
    trainset = vision.MNIST(root="./data", train=True, download=not quick, transform=transform)
except FileNotFoundError:
    trainset = vision.Digits(train=True, transform=transform)
indices = np.random.choice(len(trainset), 500, replace=False)
loader = data.DataLoader(data.Subset(trainset, indices), batch_size=32, shuffle=True, num_workers=2)


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()  # noqa: UP008  as course scripts write it
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.fc1 = nn.Linear(64 * 5 * 5, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.view(x.size(0), -1)
        return self.fc2(F.relu(self.fc1(x)))


torch.manual_seed(0)
net = Net()
print(f"parameters: course 225,034, here {sum(p.numel() for p in net.parameters()):,}; steps an epoch: {len(loader)}")
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
num_epochs = 2 if quick else 10
history = {"train_acc": [], "train_loss": []}
for epoch in range(num_epochs):
    net.train()
    running_loss, correct, total = 0.0, 0, 0
    for inputs, labels in loader:
        optimizer.zero_grad()
        outputs = net(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
        _, predicted = outputs.max(1)
        total += labels.size(0)
        correct += predicted.eq(labels).sum().item()
    history["train_acc"].append(100.0 * correct / total)
    history["train_loss"].append(running_loss / len(loader))
    print(f"Epoch {epoch + 1}, Train Loss: {history['train_loss'][-1]:.4f}, Train Acc: {history['train_acc'][-1]:.4f}")
plt.plot(range(1, num_epochs + 1), history["train_acc"], label="Train Accuracy")
plt.plot(range(1, num_epochs + 1), history["train_loss"], label="Train Loss")
plt.xlabel("Epoch")
plt.legend()
plt.title("Training Curve")
save("training_curve")
