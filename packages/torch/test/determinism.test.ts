// Algorithms that give the same result in every run, and what cuDNN may do.
import assert from "node:assert/strict";
import { afterEach, it } from "node:test";
import * as torch from "@fabric-ts/torch";

afterEach(() => torch.useDeterministicAlgorithms(false));

const index = torch.tensor([0, 0], { dtype: "int64" });
const put = (): torch.Tensor => torch.zeros([2]).put_(index, torch.tensor([1.5, 2.5]));

it("what has no deterministic algorithm is an error, or a warning, only when asked for", () => {
  assert.equal(torch.areDeterministicAlgorithmsEnabled(), false);
  put();
  torch.useDeterministicAlgorithms(true);
  assert.equal(torch.areDeterministicAlgorithmsEnabled(), true);
  assert.equal(torch.isDeterministicAlgorithmsWarnOnlyEnabled(), false);
  assert.throws(put, { name: "TorchError", message: /put_ does not have a deterministic implementation/ });
  assert.throws(put, (error: Error) => !/use_deterministic_algorithms|True/.test(error.message));
  torch.ones([2, 2]).matmul(torch.ones([2, 2]));
  torch.useDeterministicAlgorithms(true, { warnOnly: true });
  assert.equal(torch.isDeterministicAlgorithmsWarnOnlyEnabled(), true);
  put();
  torch.useDeterministicAlgorithms(false);
  assert.equal(torch.isDeterministicAlgorithmsWarnOnlyEnabled(), false);
  put();
});

it("cuDNN's settings have PyTorch's defaults, and can be changed", () => {
  const { cudnn } = torch.backends;
  assert.deepEqual({ ...cudnn }, { enabled: true, benchmark: false, deterministic: false });
  try {
    cudnn.benchmark = true;
    cudnn.deterministic = true;
    assert.deepEqual({ ...cudnn }, { enabled: true, benchmark: true, deterministic: true });
  } finally {
    cudnn.benchmark = false;
    cudnn.deterministic = false;
  }
});

it("anything but a boolean is refused, and so is a setting that does not exist", () => {
  assert.throws(() => torch.useDeterministicAlgorithms("yes" as never), /`mode`.*boolean/);
  assert.throws(() => torch.useDeterministicAlgorithms(true, { warnOnly: 1 as never }), /`warnOnly`.*boolean/);
  assert.throws(() => {
    torch.backends.cudnn.benchmark = 1 as never;
  }, /backends\.cudnn\.benchmark.*boolean/);
  assert.throws(() => {
    (torch.backends.cudnn as unknown as Record<string, boolean>).benchmarks = true;
  }, TypeError);
});
