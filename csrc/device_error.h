// What a device could not do: no memory for a launch, a kernel that went wrong. Call (bindings) adds the name of the
// op.
#pragma once
#include <stdexcept>

namespace nnfast {

class DeviceError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace nnfast
