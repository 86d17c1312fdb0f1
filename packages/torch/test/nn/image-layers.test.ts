// Layers that rearrange, normalize and resize images, against PyTorch, and what they refuse.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { nn } from "@fabric-ts/torch";
import { checkGolden } from "./golden-layers.js";

const cases: [name: string, make: () => nn.Module, shape: number[]][] = [
  ["Unfold", () => new nn.Unfold(2), [1, 2, 3, 3]],
  ["Unfold with options", () => new nn.Unfold([2, 3], { dilation: [1, 2], padding: 1, stride: [2, 1] }), [1, 1, 4, 5]],
  ["Fold", () => new nn.Fold([3, 3], 2), [1, 8, 4]],
  ["Fold with options", () => new nn.Fold([4, 5], [2, 2], { stride: 2, padding: [0, 1] }), [2, 4, 6]],
  ["PixelShuffle", () => new nn.PixelShuffle(2), [1, 4, 2, 3]],
  ["PixelUnshuffle", () => new nn.PixelUnshuffle(2), [1, 1, 4, 2]],
  ["InstanceNorm1d", () => new nn.InstanceNorm1d(2), [2, 2, 4]],
  [
    "InstanceNorm2d",
    () => new nn.InstanceNorm2d(2, { affine: true, trackRunningStats: true, eps: 1e-3 }),
    [2, 2, 2, 3],
  ],
  ["InstanceNorm2d evaluated", () => new nn.InstanceNorm2d(2, { trackRunningStats: true }).eval(), [2, 2, 2, 3]],
  ["InstanceNorm3d", () => new nn.InstanceNorm3d(2, { affine: true }), [2, 2, 2, 2]],
  ["Upsample", () => new nn.Upsample({ scaleFactor: 2 }), [1, 1, 2, 2]],
  ["Upsample bilinear", () => new nn.Upsample({ size: [3, 4], mode: "bilinear", alignCorners: true }), [1, 1, 2, 2]],
  ["Upsample by factors", () => new nn.Upsample({ scaleFactor: [2, 1.5], mode: "bicubic" }), [1, 1, 2, 2]],
];

for (const [name, make, shape] of cases) test(`${name} has PyTorch's values`, () => checkGolden(name, make, [shape]));

test("folding back what was unfolded counts overlaps", () => {
  const columns = nn.functional.unfold(torch.ones([1, 1, 3, 3]), 2);
  assert.deepEqual(nn.functional.fold(columns, 3, 2).tolist(), [
    [
      [
        [1, 2, 1],
        [2, 4, 2],
        [1, 2, 1],
      ],
    ],
  ]);
});

test("what these layers cannot work with is refused with what to type", () => {
  assert.throws(
    () => new nn.InstanceNorm2d(3)(torch.ones([2, 3])),
    /InstanceNorm2d got .*\[2, 3\]\.\nIt takes the shape \[N, C, H, W\] or \[C, H, W\]/,
  );
  assert.throws(() => new nn.InstanceNorm1d(2)(torch.ones([2, 2, 1])), /more than 1 element per channel/);
  assert.throws(
    () => new nn.InstanceNorm1d(3, { affine: true })(torch.ones([2, 2, 4])),
    /of 3 channels got .* which has 2/,
  );
  assert.throws(() => new nn.Upsample({ scaleFactor: 2, size: 3 }), /exactly one of `size` and `scaleFactor`/);
  assert.throws(() => new nn.Upsample(2 as never), /an object of named options, but got 2/);
  assert.throws(() => new nn.Unfold([1, 2, 3]), /`kernelSize` has to be a number or a list of 2/);
  assert.throws(() => new nn.PixelShuffle(0), /`upscaleFactor` has to be at least 1/);
  assert.throws(() => nn.functional.fold(torch.ones([4]), 3, 2), /`fold` got an input of shape \[4\]/);
});
