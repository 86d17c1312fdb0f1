// A self-contained HTML page: curves of loss and accuracy as SVG, and digits with their predictions. No scripts, no downloads.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { PrecisionInput } from "@fabric-ts/fabric";
import type { Tensor } from "@fabric-ts/torch";

/** What the page shows. */
export interface Report {
  /** Training loss of each step. */
  losses: number[];
  /** Held-out results of each epoch. */
  epochs: { accuracy: number; loss: number; samplesPerSecond: number }[];
  /** Held-out digits, images [n, 1, 28, 28]. */
  samples: { images: Tensor; labels: number[] };
  /** What the model takes the digits for. */
  predictions: number[];
  options: { devices: number; precision: PrecisionInput };
}

interface Series {
  points: [x: number, y: number][];
  dots: boolean;
}

const WIDTH = 520;
const HEIGHT = 240;
const LEFT = 52;
const BOTTOM = 34;

function ticks(low: number, high: number, count: number): number[] {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= rough) ?? rough;
  const found: number[] = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-6; value += step)
    found.push(Number(value.toPrecision(6)));
  return found;
}

function chart(
  title: string,
  xLabel: string,
  series: Series,
  yRange: [number, number],
  format: (y: number) => string,
): string {
  const xs = series.points.map(([x]) => x);
  const [x0, x1] = [Math.min(...xs), Math.max(...xs, Math.min(...xs) + 1)];
  const [y0, y1] = yRange;
  const px = (x: number): number => LEFT + ((x - x0) / (x1 - x0)) * (WIDTH - LEFT - 14);
  const py = (y: number): number => HEIGHT - BOTTOM - ((y - y0) / (y1 - y0)) * (HEIGHT - BOTTOM - 14);
  const rows = ticks(y0, y1, 4).map(
    (y) =>
      `<line class="grid" x1="${LEFT}" x2="${WIDTH - 14}" y1="${py(y)}" y2="${py(y)}"/><text class="y" x="${LEFT - 6}" y="${py(y) + 4}">${format(y)}</text>`,
  );
  const columns = ticks(x0, x1, 5)
    .filter((x) => !series.dots || Number.isInteger(x))
    .map((x) => `<text class="x" x="${px(x)}" y="${HEIGHT - BOTTOM + 16}">${x}</text>`);
  const path = series.points.map(([x, y], i) => `${i ? "L" : "M"}${px(x).toFixed(1)},${py(y).toFixed(1)}`).join("");
  const dots = series.dots
    ? series.points.map(([x, y]) => `<circle cx="${px(x)}" cy="${py(y)}" r="3.5"/>`).join("")
    : "";
  return `<figure><figcaption>${title}</figcaption><svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title}">${rows.join("")}${columns.join("")}<text class="x" x="${WIDTH / 2}" y="${HEIGHT - 2}">${xLabel}</text><path d="${path}"/>${dots}</svg></figure>`;
}

// An image of 28 x 28 grey values as a bitmap file in a data URL: rows bottom to top, a palette of 256 greys.
function bitmap(pixels: Float32Array): string {
  const size = 28;
  const offset = 14 + 40 + 256 * 4;
  const file = Buffer.alloc(offset + size * size);
  file.write("BM", 0, "latin1");
  file.writeUInt32LE(file.length, 2);
  file.writeUInt32LE(offset, 10);
  file.writeUInt32LE(40, 14);
  file.writeInt32LE(size, 18);
  file.writeInt32LE(size, 22);
  file.writeUInt16LE(1, 26);
  file.writeUInt16LE(8, 28);
  file.writeUInt32LE(256, 46);
  for (let grey = 0; grey < 256; grey++) file.fill(255 - grey, 54 + grey * 4, 54 + grey * 4 + 3);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++)
      file[offset + y * size + x] = Math.round((pixels[(size - 1 - y) * size + x] ?? 0) * 255);
  }
  return `data:image/bmp;base64,${file.toString("base64")}`;
}

// A mean over neighbouring steps, so that the curve can be read.
function smooth(values: number[], window: number): [number, number][] {
  const points: [number, number][] = [];
  for (let end = window; end <= values.length; end += Math.max(1, Math.floor(window / 4))) {
    const part = values.slice(end - window, end);
    points.push([end, part.reduce((sum, value) => sum + value, 0) / part.length]);
  }
  return points;
}

const STYLE = `:root{color-scheme:light dark;--ink:#1c2330;--soft:#6b7484;--line:#e3e7ee;--blue:#2f6fde;--bad:#c8372d;--paper:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e8ebf1;--soft:#98a2b3;--line:#2b323f;--blue:#6ea1ff;--bad:#ff8077;--paper:#151a22}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:1120px;margin:40px auto;padding:0 20px}
h1{font-size:24px;margin:0 0 4px}p{color:var(--soft);margin:0 0 24px}main{display:grid;grid-template-columns:repeat(auto-fit,minmax(340px,1fr));gap:24px}
figure{margin:0}figcaption{font-weight:600;margin-bottom:6px}svg{width:100%;height:auto}path{fill:none;stroke:var(--blue);stroke-width:2}circle{fill:var(--blue)}
.grid{stroke:var(--line)}text{font-size:12px;fill:var(--soft)}.x{text-anchor:middle}.y{text-anchor:end}
ul{list-style:none;display:grid;grid-template-columns:repeat(auto-fill,minmax(72px,1fr));gap:10px;padding:0}li{text-align:center;font-weight:600}
li img{width:56px;height:56px;image-rendering:pixelated;display:block;margin:0 auto 2px;border:1px solid var(--line);border-radius:6px}li.wrong{color:var(--bad)}
table{border-collapse:collapse;margin:24px 0}td,th{padding:4px 18px 4px 0;text-align:right;font-variant-numeric:tabular-nums}th{color:var(--soft);font-weight:500}`;

/** Writes the page and returns its path. */
export function writeReport(path: string, report: Report): string {
  const last = report.epochs[report.epochs.length - 1];
  const curve = smooth(report.losses, Math.min(10, report.losses.length));
  const accuracies = report.epochs.map(({ accuracy }, i): [number, number] => [i + 1, accuracy * 100]);
  const lowest = Math.floor(Math.min(...accuracies.map(([, y]) => y)) - 1);
  const pixels = report.samples.images.toTypedArray() as Float32Array;
  const digits = report.samples.labels.map((label, i) => {
    const guess = report.predictions[i];
    const image = bitmap(pixels.subarray(i * 784, (i + 1) * 784));
    const text = guess === label ? `${guess}` : `${guess}, not ${label}`;
    return `<li class="${guess === label ? "right" : "wrong"}"><img src="${image}" alt="a handwritten ${label}">${text}</li>`;
  });
  const rows = report.epochs.map(
    (row, i) =>
      `<tr><td>${i + 1}</td><td>${(row.accuracy * 100).toFixed(2)} %</td><td>${row.loss.toFixed(4)}</td><td>${row.samplesPerSecond.toFixed(0)}</td></tr>`,
  );
  const { devices, precision } = report.options;
  const html = `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>Handwritten digits</title><style>${STYLE}</style>
<h1>Handwritten digits: ${((last?.accuracy ?? 0) * 100).toFixed(2)} % right</h1>
<p>2,000 held-out digits after ${report.epochs.length} epoch(s) on ${devices} process(es), precision ${precision}.</p>
<main>${chart("Training loss", "step", { points: curve, dots: false }, [0, Math.max(...curve.map(([, y]) => y)) * 1.05], (y) => String(y))}
${chart("Held-out accuracy", "epoch", { points: accuracies, dots: true }, [lowest, 100], (y) => `${y} %`)}</main>
<table><tr><th>epoch</th><th>held-out accuracy</th><th>held-out loss</th><th>training samples/s</th></tr>${rows.join("")}</table>
<h2>Held-out digits and what the model takes them for</h2><ul>${digits.join("")}</ul></html>
`;
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, html);
  return path;
}
