// Proof that a conversion is right: a Hugging Face model run on recorded inputs, every recorded output, gradient and
// training trajectory compared.  The file: in.<argument>, out.<output>, grad.<HF parameter>, traj.loss, traj.grad_norm.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/device/device.h"
#include "recipes/schema.h"

namespace nemo {

struct VerifyOptions {
  std::string folder;           // Hugging Face folder
  std::string reference;        // safetensors file
  Device device = {};
  Precision precision = Precision::fp32;
  std::string dump = {};        // writes our tensors under the reference's names, fp32
};

struct Tolerances { double outputs, gradients; };  // trajectories are held to `gradients`
Tolerances tolerances(Precision precision);         // fp32: 1e-5, 1e-4; bf16: 2e-2, 5e-2

struct VerifyReport {
  bool passed = false;
  std::map<std::string, double> errors;     // by reference name: |ours - ref| / max(|ref|, floor)
  std::map<std::string, double> limits;     // the tolerance each is held to
  std::vector<std::string> not_compared;    // reference tensors nothing of ours stands for: these fail the report
  std::string worst_name;                   // largest error over its limit's share
  double worst_error = 0;
};

VerifyReport verify(const VerifyOptions& options);

}  // namespace nemo
