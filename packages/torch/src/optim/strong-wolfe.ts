// internal: a line search whose result satisfies the strong Wolfe conditions: a bracket first, then points inside of it by cubic
// interpolation (Nocedal and Wright, "Numerical Optimization", algorithms 3.5 and 3.6), in PyTorch's order of operations.
import type { Tensor } from "../tensor.js";
import {
  absolute,
  add,
  div,
  greatest,
  isAtLeast,
  isAtMost,
  isGreater,
  isLess,
  least,
  mul,
  type Scalar,
  sub,
} from "./tensor-scalar.js";

/** internal: a point on the line: where, the loss, the gradient, and the slope along the line. */
interface Point {
  t: Scalar;
  f: number;
  g: Tensor;
  slope: Scalar;
}

const ENOUGH_DECREASE = 1e-4;
const CURVATURE = 0.9;
const MOST_EVALUATIONS = 25;
// PyTorch does not hand the optimizer's own tolerance on.
const NARROWEST = 1e-9;

/** internal: the minimum of the cubic through two points with slopes, within bounds. */
function cubicMinimum(a: Point, b: Point, bounds?: [Scalar, Scalar]): Scalar {
  const [low, high] = bounds ?? (isAtMost(a.t, b.t) ? [a.t, b.t] : [b.t, a.t]);
  const d1 = sub(add(a.slope, b.slope), div(3 * (a.f - b.f), sub(a.t, b.t)));
  const square = sub(mul(d1, d1), mul(a.slope, b.slope));
  if (!isAtLeast(square, 0)) return div(add(low, high), 2);
  const d2 = typeof square === "number" ? Math.sqrt(square) : square.sqrt();
  const [left, right] = isAtMost(a.t, b.t) ? [a, b] : [b, a];
  const share = div(sub(add(right.slope, d2), d1), add(sub(right.slope, left.slope), mul(2, d2)));
  const minimum = sub(right.t, mul(sub(right.t, left.t), share));
  return least(greatest(minimum, low), high);
}

/** internal: the step along `d`, with the loss and the gradient there, and how many evaluations it took. */
export function strongWolfe(
  evaluate: (t: Scalar) => { f: number; g: Tensor },
  first: Scalar,
  d: Tensor,
  start: { f: number; g: Tensor; slope: Tensor },
): { f: number; g: Tensor; t: Scalar; evaluations: number } {
  const length = d.abs().max();
  const at = (t: Scalar): Point => {
    const { f, g } = evaluate(t);
    return { t, f, g, slope: g.dot(d) };
  };
  const tooHigh = (point: Point): boolean =>
    isGreater(point.f, add(start.f, mul(mul(ENOUGH_DECREASE, point.t), start.slope)));
  const flat = (point: Point): boolean => isAtMost(absolute(point.slope), mul(-CURVATURE, start.slope));

  let previous: Point = { t: 0, f: start.f, g: start.g.clone(), slope: start.slope };
  let point = at(first);
  let evaluations = 1;
  let rounds = 0;
  let bracket: [Point, Point] | null = null;
  for (; rounds < MOST_EVALUATIONS; rounds++) {
    if (tooHigh(point) || (rounds > 1 && point.f >= previous.f)) bracket = [previous, point];
    else if (flat(point)) return { f: point.f, g: point.g, t: point.t, evaluations };
    else if (isAtLeast(point.slope, 0)) bracket = [previous, point];
    if (bracket !== null) break;
    const lowest = add(point.t, mul(0.01, sub(point.t, previous.t)));
    const next = cubicMinimum(previous, point, [lowest, mul(point.t, 10)]);
    previous = point;
    point = at(next);
    evaluations++;
  }
  bracket ??= [{ t: 0, f: start.f, g: start.g, slope: start.slope }, point];

  let stuck = false;
  let low: 0 | 1 = bracket[0].f <= bracket[1].f ? 0 : 1;
  while (rounds < MOST_EVALUATIONS) {
    const [a, b] = bracket;
    if (isLess(mul(absolute(sub(b.t, a.t)), length), NARROWEST)) break;
    const [near, far] = [least(a.t, b.t), greatest(a.t, b.t)];
    let t = cubicMinimum(a, b);
    // Close to the end of the bracket twice, or beyond it: a tenth of its length away from that end.
    const margin = mul(0.1, sub(far, near));
    if (isLess(least(sub(far, t), sub(t, near)), margin)) {
      if (stuck || isAtLeast(t, far) || isAtMost(t, near)) {
        t = isLess(absolute(sub(t, far)), absolute(sub(t, near))) ? sub(far, margin) : add(near, margin);
        stuck = false;
      } else stuck = true;
    } else stuck = false;
    point = at(t);
    evaluations++;
    rounds++;
    const high: 0 | 1 = low === 0 ? 1 : 0;
    if (tooHigh(point) || point.f >= bracket[low].f) {
      bracket[high] = point;
      low = bracket[0].f <= bracket[1].f ? 0 : 1;
      continue;
    }
    const done = flat(point);
    if (!done && isAtLeast(mul(point.slope, sub(bracket[high].t, bracket[low].t)), 0)) bracket[high] = bracket[low];
    bracket[low] = point;
    if (done) break;
  }
  const best = bracket[low];
  return { f: best.f, g: best.g, t: best.t, evaluations };
}
