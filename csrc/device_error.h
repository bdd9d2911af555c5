// What a device could not do: no memory for a launch, a kernel that went wrong. Call (bindings) adds the name of the
// op.
#pragma once
#include <stdexcept>

namespace nnfast {

class DeviceError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class DeviceMemoryError : public DeviceError {
 public:
  DeviceMemoryError()
      : DeviceError("there is not enough memory on the GPU for a launch or a graph. Take a smaller batch") {}
};

}  // namespace nnfast
