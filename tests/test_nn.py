"""The face of PyTorch: modules, losses, optimizers and schedulers against PyTorch's stored numbers; tensors, states,
loaders; what it says to mistakes. `-m peers` compares with PyTorch itself and exchanges states with it."""

import copy
import json

import numpy as np
import pytest
import torch_cases as cases

import nnfast
from nnfast import data, nn, optim
from nnfast.nn import functional as F
from nnfast.nn import torch

GOLDEN = json.loads(cases.GOLDEN.read_text())


def agrees(name, ours, theirs, rtol=1e-5):
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, name
    scale = max(1e-3, np.abs(theirs).max())
    assert np.abs(ours - theirs).max() <= rtol * scale, f"{name}: off by {np.abs(ours - theirs).max() / scale}"


# ---- PyTorch's numbers ----


@pytest.mark.parametrize("name", cases.OPTIMIZERS)
def test_twenty_steps(name):
    agrees(name, cases.sample(cases.train(torch, name)), GOLDEN[f"train: {name}"])


@pytest.mark.parametrize("name, kind", [("sgd, momentum", "sgd"), ("rmsprop, decay", "rmsprop")])
def test_twenty_steps_with_a_schedule(name, kind):
    """The momentum is of gradients, not of steps: it matters as soon as the rate changes."""
    losses = cases.train(torch, name, cases.SCHEDULERS["exponential"])
    agrees("schedule", cases.sample(losses), GOLDEN[f"train: {kind} with a schedule"])


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
def test_a_step_is_one_kernel(kind, monkeypatch):
    """With every option: the rule, L2 included, is no expression of ops."""
    more = {"SGD": {"momentum": 0.9}, "RMSprop": {"momentum": 0.9, "centered": True}, "Adam": {"amsgrad": True}}
    net = cases.mlp(torch)
    optimizer = getattr(optim, kind)(net.parameters(), weight_decay=0.1, **more.get(kind, {}))
    net(torch.ones(2, 5)).sum().backward()
    optimizer.step()  # makes the buffers
    called = []

    class Counting:
        def __getattr__(self, name):
            called.append(name)
            return getattr(before, name)

    before = nnfast.device.kernels
    monkeypatch.setattr(nnfast.device, "kernels", Counting())
    optimizer.step()
    assert called == [{"AdamW": "adam"}.get(kind, kind.lower())]


@pytest.mark.parametrize("name", cases.SCHEDULERS)
def test_rates(name):
    agrees(name, cases.sample(cases.rates(torch, name)), GOLDEN[f"rates: {name}"])


def test_rates_on_a_plateau():
    agrees("plateau", cases.plateau(torch), GOLDEN["rates: plateau"])


@pytest.mark.parametrize("name", cases.LOSSES)
def test_losses_and_their_gradients(name):
    agrees(name, cases.sample(cases.loss_and_gradient(torch, name)), GOLDEN[f"loss: {name}"])


@pytest.mark.parametrize("name", cases.MODULES)
def test_modules_and_their_gradients(name, device):
    found = cases.outputs(torch, name)
    assert {f"module: {name}/{k}" for k in found} == {k for k in GOLDEN if k.startswith(f"module: {name}/")}
    for key, values in found.items():
        agrees(f"{name}/{key}", cases.sample(values), GOLDEN[f"module: {name}/{key}"])


def test_running_statistics():
    agrees("running", cases.sample(cases.running(torch)), GOLDEN["running statistics"])
    with pytest.raises(ValueError, match=r"more than one value per channel.*drop_last"):
        nn.BatchNorm1d(3)(torch.ones(1, 3))


@pytest.mark.peers
class TestBesidePyTorch:
    @pytest.fixture
    def peer(self):
        return pytest.importorskip("torch")

    def test_all_numbers(self, peer):
        ours, theirs = cases.everything(torch), cases.everything(peer)
        assert ours.keys() == theirs.keys()
        for name in theirs:
            agrees(name, ours[name], theirs[name])

    def test_states_both_ways(self, peer):
        x = cases.images(torch)
        for name in ("network", "conv, groups"):
            (mine, x), (theirs, x_peer) = cases.MODULES[name](torch, nn), cases.MODULES[name](peer, peer.nn)
            assert list(mine.state_dict()) == list(theirs.state_dict())
            mine.load_state_dict(theirs.state_dict())
            agrees(name, cases.numbers(mine(x)), cases.numbers(theirs(x_peer)))
            for p in mine.parameters():
                p.assign(p.detach() * 0.5)
            theirs.load_state_dict({k: peer.from_dlpack(v) for k, v in mine.state_dict().items()})
            agrees(name, cases.numbers(mine(x)), cases.numbers(theirs(x_peer)))
            theirs.load_state_dict({k: peer.from_numpy(v.numpy()) for k, v in mine.state_dict().items()})

    @pytest.mark.parametrize("name", cases.OPTIMIZERS)
    def test_what_optimizers_remember(self, peer, name):
        """The same buffers under the same names, so that each side can go on with what the other remembered."""
        (_, ours), (_, theirs) = cases.trained(torch, name), cases.trained(peer, name)
        mine, other = ours.state_dict()["state"], theirs.state_dict()["state"]
        for number, buffers in other.items():
            for key, value in buffers.items():
                if value is not None:
                    agrees(f"{number} {key}", mine[number][key], value.numpy(), 1e-4)

    def test_a_file_of_pytorch_is_refused(self, peer, tmp_path):
        peer.save({"w": peer.ones(2)}, tmp_path / "w.pt")
        with pytest.raises(ValueError, match=r"\[load\].*no \.npz.*numpy\.savez"):
            torch.load(tmp_path / "w.pt")

    def test_initial_values_have_its_moments(self, peer):
        torch.manual_seed(3)
        for ours, theirs in (
            (nn.Linear(300, 200).weight, peer.nn.Linear(300, 200).weight),
            (nn.Conv2d(20, 40, 5).weight, peer.nn.Conv2d(20, 40, 5).weight),
            (nn.Conv2d(20, 4000, 5).bias, peer.nn.Conv2d(20, 4000, 5).bias),
            (nn.Embedding(100, 200).weight, peer.nn.Embedding(100, 200).weight),
        ):
            a, b = ours.numpy(), theirs.detach().numpy()
            assert a.std() == pytest.approx(b.std(), rel=0.04) and abs(a.mean() - b.mean()) < 0.04 * b.std()
            assert abs(a).max() == pytest.approx(abs(b).max(), rel=0.2)


# ---- tensors ----


def test_words_of_tensors():
    x = torch.tensor([[1.0, 5.0, 2.0], [7.0, 3.0, 4.0]])
    values, indices = x.max(1)
    assert values.tolist() == [5, 7] and indices.tolist() == [1, 0] and x.max().item() == 7
    values, indices = torch.min(x, 0)
    assert values.tolist() == [1, 3, 2] and indices.tolist() == [0, 1, 0]
    assert torch.max(x, 4 * torch.ones(2, 3)).tolist() == [[4, 5, 4], [7, 4, 4]]
    assert (x.size(), x.size(0), x.size(-1), int(x.size), x.dim(), x.numel()) == ((2, 3), 2, 3, 6, 2, 6)
    assert x.view(-1).shape == (6,) and x.view(3, 2).shape == (3, 2) and x.view((1, -1)).shape == (1, 6)
    assert x.unsqueeze(0).shape == (1, 2, 3) and x.unsqueeze(0).squeeze(0).squeeze(0).shape == (2, 3)
    assert x.permute(1, 0).shape == x.t().shape == x.T.shape == x.transpose(0, 1).shape == (3, 2)
    assert torch.ones(2, 3, 4).flatten(1).shape == (2, 12) and torch.ones(2, 1).expand(-1, 4).shape == (2, 4)
    assert x.sum(dim=1, keepdim=True).shape == (2, 1) and x.argmax(dim=1).tolist() == [1, 0]
    predicted, labels = torch.tensor([1, 0, 2]), torch.tensor([1, 1, 2])
    assert predicted.eq(labels).sum().item() == 2 and (predicted == labels).float().mean().item() == pytest.approx(
        2 / 3
    )
    assert x.std().item() == pytest.approx(np.std(x.numpy(), ddof=1), rel=1e-6)
    assert x.var(0, unbiased=False).tolist() == pytest.approx(np.var(x.numpy(), 0).tolist())
    assert x.norm().item() == pytest.approx(np.linalg.norm(x.numpy()), rel=1e-6) and x.norm(1).item() == 22
    assert x.clamp(min=2).min().item() == 2 and x.clamp(2, 4).max().item() == 4
    assert torch.cat([x, x]).shape == (4, 3) and torch.stack([x, x], dim=1).shape == (2, 2, 3)
    assert x.long().dtype == torch.long == torch.int64 and x.double().dtype == torch.float64
    assert x.to("cpu") is x and x.to(torch.float64).dtype == torch.float64 and x.cpu() is x
    assert repr(torch.tensor([1, 2])) == "tensor([1, 2])"
    with pytest.raises(AttributeError, match=r"'unsqeeze'.*'unsqueeze'"):
        x.unsqeeze(0)
    with pytest.raises(RuntimeError, match="on the CPU here"):
        x.cuda()


def test_all_results_have_the_words():
    """Through operators, indexing, functions, modules and gradients."""
    x = torch.tensor([[1.0, 2.0]], requires_grad=True)
    for y in (x + 1, 1 - x, -x, x @ x.t(), x[0], x > 1, torch.exp(x), F.relu(x), nn.Linear(2, 2)(x), x.detach()):
        assert type(y) is nn.Tensor, y
    (x * 2).sum().backward()
    assert type(x.grad) is nn.Tensor and x.grad.tolist() == [[2, 2]]
    assert type(nn.Linear(1, 1)(np.ones((3, 1), "float32"))) is nn.Tensor


def test_making_tensors():
    source = np.arange(3.0)
    shared, copied = torch.from_numpy(source), torch.tensor(source)
    source[0] = 9
    assert shared[0].item() == 9 and copied[0].item() == 0 and copied.dtype == torch.float64
    assert torch.zeros(2, 3).shape == torch.ones((2, 3)).shape == torch.rand(2, 3).shape == (2, 3)
    assert torch.zeros_like(torch.tensor([1, 2])).dtype == torch.int64 and torch.full((2,), 7).tolist() == [7, 7]
    assert torch.arange(3).tolist() == [0, 1, 2] and torch.arange(0, 1, 0.5).dtype == torch.float32
    assert torch.eye(2).tolist() == [[1, 0], [0, 1]] and torch.linspace(0, 1, 3).tolist() == [0, 0.5, 1]
    torch.manual_seed(4)
    first = torch.randn(5)
    torch.manual_seed(4)
    assert torch.equal(torch.randn(5), first) and torch.is_tensor(first)
    assert sorted(torch.randperm(6).tolist()) == list(range(6))
    drawn = torch.randint(2, 5, (400,))
    assert set(drawn.tolist()) == {2, 3, 4}
    assert torch.tensor([torch.tensor(1.0), torch.tensor(2.0)]).tolist() == [1, 2]
    with pytest.raises(RuntimeError, match="cuda"):
        torch.tensor([1.0], device="cuda")
    assert torch.device("cpu") == "cpu" and not torch.cuda.is_available()
    with pytest.raises(AttributeError, match=r"torch\.tesnor.*'tensor'"):
        _ = torch.tesnor


def test_leaves_change_under_no_grad():
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    kept = w
    for _ in range(2):
        (w * w).sum().backward()
        with torch.no_grad():
            w -= 0.25 * w.grad
            w.grad.zero_()
    assert w is kept and w.requires_grad and w.tolist() == [0.25, 0.5] and w.grad.tolist() == [0, 0]
    with pytest.raises(RuntimeError, match="no_grad"):
        w -= 1.0
    assert nn.Parameter([1.0]).grad is None and w.detach().requires_grad is False

    @torch.no_grad()
    def twice(x):
        return x * 2

    assert not twice(w).requires_grad and (w * 2).requires_grad


def test_a_parameter_changed_between_forward_and_backward_is_noticed():
    p = nn.Parameter([1.0])
    y = (p * p).sum()
    with torch.no_grad():
        p += 1.0
    with pytest.raises(RuntimeError, match="changed between the forward and the backward"):
        y.backward()


# ---- modules ----


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Dropout(0.5))
        self.heads = nn.ModuleList([nn.Linear(3, 1) for _ in range(2)])
        self.scale = nn.Parameter(torch.ones(1))
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x):
        return self.scale * torch.cat([head(self.body(x)) for head in self.heads], dim=1)


def test_module_finds_its_parts():
    net = Net()
    assert [n for n, _ in net.named_parameters()] == [
        "scale", "body.0.weight", "body.0.bias", "heads.0.weight", "heads.0.bias", "heads.1.weight", "heads.1.bias",
    ]  # fmt: skip
    assert list(net.state_dict())[:3] == ["scale", "count", "body.0.weight"]
    assert [n for n, _ in net.named_children()] == ["body", "heads"] and len(list(net.modules())) == 8
    assert [n for n, _ in net.named_buffers()] == ["count"]
    net.eval()
    assert not net.body[2].training
    x = torch.randn(6, 4)
    assert torch.equal(net(x), net(x)) and net(x).shape == (6, 2)
    net.train()
    assert net.body[2].training
    net(x).sum().backward()
    assert net.heads[1].bias.grad is not None
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    seen = []
    net.apply(lambda m: seen.append(type(m).__name__))
    assert seen[-1] == "Net" and seen.count("Linear") == 3
    net.requires_grad_(False)
    assert not net(x).requires_grad
    shared = nn.Linear(2, 2)
    assert len(list(nn.Sequential(shared, shared).parameters())) == 2


def test_module_in_float64():
    net = nn.Sequential(nn.Linear(3, 2), nn.Tanh()).double()
    y = net(torch.ones(1, 3, dtype=torch.float64))
    assert y.dtype == torch.float64 and net[0].weight.dtype == torch.float64
    y.sum().backward()
    assert net[0].weight.grad.dtype == torch.float64


def test_states_and_files(tmp_path):
    a, b = Net(), Net()
    torch.save(a.state_dict(), tmp_path / "net.pt")
    missing, unexpected = b.load_state_dict(torch.load(tmp_path / "net.pt"))
    assert missing == unexpected == []
    a.eval(), b.eval()
    x = torch.randn(3, 4)
    assert torch.equal(a(x), b(x)) and [p.name for p in tmp_path.iterdir()] == ["net.pt"]
    state = a.state_dict()
    del state["scale"]
    state["more"] = torch.ones(1)
    with pytest.raises(ValueError, match=r"missing \['scale'\], unexpected \['more'\]"):
        b.load_state_dict(state)
    assert b.load_state_dict(state, strict=False) == (["scale"], ["more"])
    before = b.body[0].weight.numpy()
    with pytest.raises(ValueError, match=r"'heads\.1\.bias' has shape \(1,\).*\(2,\)"):
        b.load_state_dict({**a.state_dict(), "body.0.weight": before + 1, "heads.1.bias": np.ones(2)})
    np.testing.assert_array_equal(b.body[0].weight.numpy(), before)
    with pytest.raises(TypeError, match=r"never pickled.*state_dict"):
        torch.save(a, tmp_path / "whole.pt")
    np.savez(tmp_path / "bad.npz", x=np.array([object()], object))
    for name, content in (("bad.npz", None), ("pickle.pt", b"\x80\x04N."), ("empty.pt", b"")):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=r"\[load\]"):
            torch.load(tmp_path / name)


def test_mistakes_with_modules():
    class Late(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"super\(\).__init__\(\)"):
        Late()
    with pytest.raises(ValueError, match=r"\[linear\].*\(\.\.\., 784\).*\(2, 1, 28, 28\).*x\.view\(x\.size\(0\), -1\)"):
        nn.Linear(784, 10)(torch.ones(2, 1, 28, 28))
    with pytest.raises(ValueError, match=r"\(N, 1, H, W\).*\(2, 28, 28, 1\).*permute"):
        nn.Conv2d(1, 4, 3)(torch.ones(2, 28, 28, 1))
    with pytest.raises(ValueError, match=r"unsqueeze\(1\)"):
        nn.Conv2d(1, 4, 3)(torch.ones(32, 28, 28))
    with pytest.raises(ValueError, match=r"not broadcast.*\(5, 1\).*\(5,\).*target\.view\(5, 1\)"):
        nn.MSELoss()(torch.ones(5, 1), torch.ones(5))
    with pytest.raises(ValueError, match=r"probabilities.*BCEWithLogitsLoss"):
        nn.BCELoss()(torch.tensor([2.0]), torch.tensor([1.0]))
    with pytest.raises(ValueError, match=r"sample 1.*3|3.*sample 1"):
        nn.CrossEntropyLoss()(torch.zeros(2, 3), torch.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"argmax\(1\)"):
        nn.CrossEntropyLoss()(torch.zeros(2, 3), torch.tensor([[0, 1, 0], [1, 0, 0]]))
    with pytest.raises(TypeError, match=r"Did you mean ReLU\(\)"):
        nn.Sequential(nn.Linear(1, 1), nn.ReLU)
    with pytest.raises(ValueError, match=r"nothing to train.*ModuleList"):
        optim.SGD(nn.ReLU().parameters(), lr=0.1)
    with pytest.raises(AttributeError, match=r"'weihgt'.*'weight'"):
        _ = nn.Linear(1, 1).weihgt


def test_clipping_of_gradients():
    ps = [nn.Parameter([3.0]), nn.Parameter([4.0])]
    (0.5 * (ps[0] * ps[0] + ps[1] * ps[1])).sum().backward()
    assert nn.utils.clip_grad_norm_(ps, 1.0).item() == 5
    np.testing.assert_allclose([p.grad.item() for p in ps], [0.6, 0.8], rtol=1e-5)
    nn.utils.clip_grad_value_(ps, 0.7)
    assert ps[1].grad.item() == pytest.approx(0.7) and nn.utils.parameters_to_vector(ps).tolist() == [3, 4]


def test_initial_values():
    torch.manual_seed(0)
    w = nn.Parameter(torch.zeros(400, 300))
    limit = np.sqrt(6 / 700)
    assert nn.init.xavier_uniform_(w) is w and limit * 0.99 < abs(w.numpy()).max() <= limit
    for f, std in (
        (nn.init.kaiming_normal_, np.sqrt(2 / 300)),
        (nn.init.xavier_normal_, np.sqrt(2 / 700)),
        (lambda t: nn.init.kaiming_uniform_(t, nonlinearity="relu"), np.sqrt(2 / 300)),
        (lambda t: nn.init.normal_(t, 0, 0.1), 0.1),
    ):
        f(w)
        assert w.numpy().std() == pytest.approx(std, rel=0.02)
    nn.init.constant_(w, 2.0)
    assert (w.numpy() == 2).all()
    assert nn.init.calculate_gain("tanh") == 5 / 3


def test_embedding_and_dropout():
    e = nn.Embedding(5, 3, padding_idx=0)
    y = e(torch.tensor([[0, 2], [2, 4]]))
    assert y.shape == (2, 2, 3) and (y[0, 0] == 0).all()
    y.sum().backward()
    assert e.weight.grad.tolist() == [[0] * 3, [0] * 3, [2] * 3, [0] * 3, [1] * 3]
    assert list(e.state_dict()) == ["weight"]
    torch.manual_seed(1)
    x = torch.ones(50, 40, 2, 2)
    assert set(np.unique(nn.Dropout(0.2)(x).numpy())) == {0, np.float32(1.25)}
    channels = nn.Dropout2d(0.5)(x).numpy()
    assert (channels.max((2, 3)) == channels.min((2, 3))).all() and 0.4 < (channels > 0).mean() < 0.6


# ---- optimizers ----


def test_groups_and_states_of_optimizers():
    torch.manual_seed(0)
    net, (x, y) = cases.mlp(torch), cases.data(torch)

    def made(n):
        return optim.Adam([{"params": n[0].parameters()}, {"params": n[2].parameters(), "lr": 0.1}], lr=0.01)

    def steps(n, o, count):
        for _ in range(count):
            o.zero_grad()
            F.cross_entropy(n(x), y).backward()
            o.step()

    optimizer = made(net)
    assert [g["lr"] for g in optimizer.param_groups] == [0.01, 0.1]
    steps(net, optimizer, 3)
    other = cases.mlp(torch)
    other.load_state_dict(net.state_dict())
    again = made(other)
    again.load_state_dict(optimizer.state_dict())
    steps(net, optimizer, 3), steps(other, again, 3)
    for a, b in zip(net.parameters(), other.parameters()):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    with pytest.raises(ValueError, match="groups"):
        again.load_state_dict(optim.SGD(net.parameters()).state_dict())
    closure_loss = optimizer.step(lambda: F.cross_entropy(net(x), y))
    assert closure_loss.item() > 0
    with pytest.raises(TypeError, match="one tensor"):
        optim.SGD(nn.Parameter([1.0]), lr=0.1)
    for wrong in ({"lr": -1}, {"lr": 0.1, "nesterov": True}):
        with pytest.raises(ValueError, match="Received"):
            optim.SGD(net.parameters(), **wrong)


def test_a_parameter_without_a_gradient_stays():
    used, unused = nn.Parameter([1.0]), nn.Parameter([1.0])
    optimizer = optim.Adam([used, unused], lr=0.1, weight_decay=0.1)
    (used * 2).sum().backward()
    optimizer.step()
    assert unused.item() == 1 and used.item() == pytest.approx(0.9, abs=1e-6)


# ---- data ----


def test_loader():
    x, y = np.arange(20.0, dtype="float32").reshape(10, 2), np.arange(10)
    pairs = data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    loader = data.DataLoader(pairs, batch_size=4, shuffle=True)
    assert len(loader) == 3
    for _ in range(2):
        seen = [(a, b) for a, b in loader]
        assert [len(b) for _, b in seen] == [4, 4, 2]
        labels = np.concatenate([b.numpy() for _, b in seen])
        assert sorted(labels) == list(range(10)) and (np.concatenate([a.numpy() for a, _ in seen]) == x[labels]).all()
    assert len(data.DataLoader(pairs, batch_size=4, drop_last=True)) == len(
        list(data.DataLoader(pairs, 4, drop_last=True))
    )
    generator = torch.Generator().manual_seed(3)
    first = [b.tolist() for _, b in data.DataLoader(pairs, 4, True, generator=generator)]
    generator.manual_seed(3)
    assert first == [b.tolist() for _, b in data.DataLoader(pairs, 4, True, generator=generator)]
    part = data.Subset(pairs, np.array([3, 5]))
    a, b = next(iter(data.DataLoader(part, batch_size=2, num_workers=2, pin_memory=True)))
    assert b.tolist() == [3, 5] and a.tolist() == x[[3, 5]].tolist() and b.size(0) == 2
    both = data.ConcatDataset([part, pairs]) + part
    assert len(both) == 14 and both[2][1].item() == 0 and both[-1][1].item() == 5
    train, test = data.random_split(pairs, [7, 3])
    assert sorted(train.indices + test.indices) == list(range(10))
    assert [len(s) for s in data.random_split(pairs, [0.5, 0.25, 0.25])] == [6, 2, 2]
    with pytest.raises(ValueError, match="10"):
        data.random_split(pairs, [7, 2])
    with pytest.raises(ValueError, match="batch_size"):
        data.DataLoader(pairs, batch_size=0)


def test_collating():
    class Samples(data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, i):
            return {"x": np.full(3, i, "float32"), "name": f"n{i}", "pair": (i, i / 2)}

    batch = next(iter(data.DataLoader(Samples(), batch_size=3)))
    assert batch["x"].shape == (3, 3) and batch["name"] == ["n0", "n1", "n2"]
    assert batch["pair"][0].dtype == torch.int64 and batch["pair"][1].dtype == torch.float32
    sizes = [len(b) for b in data.DataLoader(Samples(), 2, collate_fn=lambda samples: samples)]
    assert sizes == [2, 2] and len(list(data.DataLoader(Samples(), batch_size=None))) == 4

    class Stream(data.IterableDataset):
        def __iter__(self):
            yield from range(5)

    assert [b.tolist() for b in data.DataLoader(Stream(), batch_size=2)] == [[0, 1], [2, 3], [4]]
    with pytest.raises(TypeError, match=r"ToTensor"):
        next(iter(data.DataLoader([object()])))
    with pytest.raises(ValueError, match="one shape"):
        next(iter(data.DataLoader([np.ones(2), np.ones(3)], batch_size=2)))


def test_transforms():
    t = data.transforms
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    x = t.ToTensor()(image)
    assert x.shape == (1, 3, 4) and x.dtype == torch.float32
    np.testing.assert_allclose(x.numpy()[0], image / 255, rtol=1e-6)
    assert t.ToTensor()(np.zeros((3, 4, 3), np.uint8)).shape == (3, 3, 4)
    both = t.Compose([t.ToTensor(), t.Normalize((0.5,), (0.25,))])
    np.testing.assert_allclose(both(image).numpy()[0], (image / 255 - 0.5) / 0.25, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(t.RandomHorizontalFlip(1.0)(image), image[:, ::-1])
    np.testing.assert_array_equal(t.RandomHorizontalFlip(1.0)(x).numpy()[0], x.numpy()[0, :, ::-1])
    np.testing.assert_array_equal(t.RandomVerticalFlip(1.0)(image), image[::-1])
    np.testing.assert_array_equal(t.CenterCrop((1, 2))(image), image[1:2, 1:3])
    colours = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    np.testing.assert_array_equal(t.RandomHorizontalFlip(1.0)(colours), colours[:, ::-1])
    torch.manual_seed(0)
    crops = {t.RandomCrop(2)(image).tobytes() for _ in range(60)}
    assert len(crops) == 6 and t.RandomCrop((3, 4), padding=2)(image).shape == (3, 4)
    assert t.Lambda(lambda a: a + 1)(1) == 2
    with pytest.raises(TypeError, match=r"ToTensor\(\) before"):
        t.Normalize((0.5,), (0.5,))(image)
    with pytest.raises(ValueError, match="smaller"):
        t.CenterCrop(9)(image)


def test_vision_data_sets(tmp_path):
    digits = data.vision.Digits(train=False, transform=data.transforms.ToTensor())
    image, label = digits[3]
    assert image.shape == (1, 28, 28) and isinstance(label, int) and len(digits) == 1000
    (x, y), (x_test, y_test) = nnfast.datasets.digits.load_data()
    np.savez(tmp_path / "mnist.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    with pytest.warns(UserWarning, match="the whole of MNIST"):
        mnist = data.vision.MNIST(root=str(tmp_path), train=True, download=True, target_transform=lambda v: v + 1)
    image, label = mnist[0]
    assert image.dtype == np.uint8 and image.shape == (28, 28) and label == y[0] + 1 and len(mnist) == len(x)
    with pytest.raises(TypeError, match=r"Subset\(dataset, range\(0, 500\)\)"):
        _ = mnist[:500]
    with pytest.raises(FileNotFoundError, match="download=True"):
        data.vision.MNIST(root=str(tmp_path / "nowhere"))


def test_a_deep_copy_has_gradients_of_its_own():
    one = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    two = copy.deepcopy(one)
    x = torch.ones(4, 3)
    two(x).sum().backward()
    assert all(p.grad is None for p in one.parameters()) and all(p.grad is not None for p in two.parameters())
    before = [p.numpy() for p in one.parameters()]
    optim.SGD(two.parameters(), lr=0.1).step()
    assert all((a == p.numpy()).all() for a, p in zip(before, one.parameters()))
    assert all((a != p.numpy()).any() for a, p in zip(before, two.parameters()))


def test_backward_has_pytorchs_arguments():
    w = torch.tensor([2.0], requires_grad=True)
    y = (w * w).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert w.grad.item() == 8.0
    with pytest.raises(RuntimeError, match=r"used up.*backward\(retain_graph=True\)"):
        y.backward()
    with pytest.raises(NotImplementedError, match="create_graph"):
        (w * w).sum().backward(create_graph=True)
