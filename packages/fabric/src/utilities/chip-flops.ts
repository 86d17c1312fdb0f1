// How many operations a second NVIDIA's chips can do at most, from NVIDIA's data sheets: for one chip, for dense matrices, with Tensor Cores
// for TF32, 16-bit (summed up in float32) and 8-bit products.
import type { Dtype } from "@fabric-ts/torch";

/** internal: `tfloat32` is float32 with the coarser products that `setFloat32MatmulPrecision` allows. */
export type ChipFlops = Partial<Record<Dtype | "tfloat32", number>>;

const hopperSxm: ChipFlops = {
  float64: 33.5e12,
  float32: 66.9e12,
  tfloat32: 494.7e12,
  bfloat16: 989.4e12,
  float16: 989.4e12,
  int8: 1978.9e12,
};
const hopperNvl: ChipFlops = {
  float64: 30e12,
  float32: 60e12,
  tfloat32: 417.5e12,
  bfloat16: 835.5e12,
  float16: 835.5e12,
  int8: 1670.5e12,
};

function geForce(float32: number, int8: number): ChipFlops {
  return { float32, tfloat32: float32, bfloat16: 2 * float32, float16: 2 * float32, int8 };
}

const chips: Record<string, ChipFlops> = {
  // Hopper
  "h200 sxm1": hopperSxm,
  "h200 nvl1": hopperNvl,
  "h100 nvl": hopperNvl,
  "h100 sxm": hopperSxm,
  "h100 pcie": {
    float64: 25.6e12,
    float32: 51.2e12,
    tfloat32: 378e12,
    bfloat16: 756e12,
    float16: 756e12,
    int8: 1513e12,
  },
  // Ada
  "rtx 4090": geForce(82.6e12, 660.6e12),
  "rtx 4080": geForce(48.7e12, 389.9e12),
  "rtx 4080 super": geForce(52.2e12, 417.6e12),
  l4: { float32: 30.3e12, tfloat32: 60e12, bfloat16: 121e12, float16: 121e12, int8: 242e12 },
  l40: { float32: 90.5e12, tfloat32: 90.5e12, bfloat16: 181e12, float16: 181e12, int8: 362e12 },
  // Ampere
  a100: {
    float64: 9.7e12,
    float32: 19.5e12,
    tfloat32: 156e12,
    bfloat16: 312e12,
    float16: 312e12,
    int8: 624e12,
  },
  a6000: { float32: 38.7e12, tfloat32: 77.4e12, bfloat16: 154.8e12, float16: 154.8e12, int8: 309.7e12 },
  a40: { float32: 37.4e12, tfloat32: 74.8e12, bfloat16: 149.7e12, float16: 149.7e12, int8: 299.3e12 },
  a10g: { float32: 31.5e12, tfloat32: 35e12, bfloat16: 70e12, float16: 70e12, int8: 140e12 },
  "rtx 3090 ti": geForce(40e12, 320e12),
  "rtx 3090": geForce(35.6e12, 284e12),
  "rtx 3080 ti": geForce(34.1e12, 272.8e12),
  "rtx 3080": geForce(29.8e12, 238e12),
  "rtx 3070": geForce(20.3e12, 162.6e12),
  // Turing: neither bfloat16 nor tfloat32
  t4: { float32: 8.1e12, float16: 65e12, int8: 130e12 },
  "quadro rtx 5000": { float32: 11.2e12, float16: 89.2e12 },
  "rtx 2080 super": { float32: 11.2e12, float16: 44.6e12, int8: 178.4e12 },
  "rtx 2080 ti": { float32: 14.2e12, float16: 56.9e12, int8: 227.7e12 },
  "rtx 2080": { float32: 10.6e12, float16: 42.4e12, int8: 169.6e12 },
  "rtx 2070 super": { float32: 9.1e12, float16: 36.3e12, int8: 145e12 },
  "titan rtx": { float32: 16.3e12, float16: 130.5e12, int8: 261e12 },
  // Volta
  "v100 sxm": { float64: 7.8e12, float32: 15.7e12, float16: 125e12 },
  "v100 pcie": { float64: 7e12, float32: 14e12, float16: 112e12 },
  "v100s pcie": { float64: 8.2e12, float32: 16.4e12, float16: 130e12 },
};

/** internal: a chip's name in the table from what the driver calls the device, such as "NVIDIA A100-SXM4-80GB"; null for names of another kind. */
export function chipOf(deviceName: string): string | null {
  const name = deviceName.toLowerCase();
  const board = /nvl/.test(name) ? "nvl" : /sxm|hbm3\b/.test(name) ? "sxm" : /pcie|hbm2e/.test(name) ? "pcie" : "";
  if (/\bh200\b/.test(name)) return board === "nvl" ? "h200 nvl1" : "h200 sxm1";
  if (/\bh100\b/.test(name)) return `h100 ${board}`.trim();
  const volta = /\bv100s?\b/.exec(name);
  if (volta) return `${volta[0]} ${board}`.trim();
  if (/\btitan rtx\b/.test(name)) return "titan rtx";
  const rtx = /\b(quadro )?rtx \d{4}( super| ti)?\b/.exec(name);
  if (rtx) return name.includes("laptop") ? `${rtx[0]} laptop` : rtx[0];
  return /\b(l40|l4|a100|a6000|a40|a10g|t4)\b/.exec(name)?.[0] ?? null;
}

/** internal: what a chip can do; undefined when it is not in the table. */
export function flopsOf(chip: string): ChipFlops | undefined {
  return Object.hasOwn(chips, chip) ? chips[chip] : undefined;
}
