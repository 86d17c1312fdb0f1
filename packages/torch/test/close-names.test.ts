// "Did you mean ...?": which known names an unknown one is close to.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";

const { closeNames, closestName } = torch.messages;

test("names are close by their edits, nearest first", () => {
  assert.deepEqual(closeNames("acelerator", ["strategy", "accelerator", "accelerators"]), [
    "accelerator",
    "accelerators",
  ]);
  assert.equal(closestName("bias", ["weight", "bias"]), "bias");
  // Swapped letters are one edit: "cpu" would be two.
  assert.equal(closestName("cdua", ["cpu", "cuda"]), "cuda");
});

test("case, underscores and hyphens do not count", () => {
  assert.equal(closestName("weight_decay", ["lr", "weightDecay"]), "weightDecay");
  assert.equal(closestName("BF16_MIXED", ["16-mixed", "bf16-mixed"]), "bf16-mixed");
});

test("names that are too far away are none, short ones soon", () => {
  assert.equal(closestName("rate", ["lr", "momentum"]), undefined);
  assert.equal(closestName("npu", ["gpu", "auto"]), "gpu");
  assert.equal(closestName("lr", ["dim"]), undefined);
  assert.deepEqual(closeNames("", ["dim"]), []);
});

test("among equally near names the order given decides, and three are enough", () => {
  assert.deepEqual(closeNames("convx", ["conv4", "conv3", "conv2", "conv1"]), ["conv4", "conv3", "conv2"]);
});
