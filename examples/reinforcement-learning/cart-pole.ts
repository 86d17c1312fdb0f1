// A pole stands on a cart that moves left and right: keep it upright (Barto, Sutton and Anderson 1983; numbers of Gymnasium's CartPole-v1).

const GRAVITY = 9.8;
const CART = 1;
const POLE = 0.1;
const TOTAL = CART + POLE;
const HALF_LENGTH = 0.5;
const FORCE = 10;
const SECONDS = 0.02;
const LARGEST_ANGLE = (12 * Math.PI) / 180;
const LARGEST_POSITION = 2.4;

/** The longest that a game lasts, in steps; each step is worth 1. */
export const LONGEST = 500;

/** One game after the other. */
export class CartPole {
  readonly #random: () => number;
  #steps = 0;
  /** Position, speed, angle of the pole, its angular speed. */
  state: number[] = [];

  /** @param seed of the positions that games begin with */
  constructor(seed: number) {
    let last = seed >>> 0;
    // The generator "mulberry32": small, and the same everywhere.
    this.#random = () => {
      last = (last + 0x6d2b79f5) >>> 0;
      let t = Math.imul(last ^ (last >>> 15), last | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
    this.reset();
  }

  /** Begins a new game. */
  reset(): void {
    this.#steps = 0;
    this.state = Array.from({ length: 4 }, () => (this.#random() - 0.5) / 10);
  }

  /** Pushes the cart left (0) or right (1); says whether that was the end of the game. */
  step(action: number): { isOver: boolean; isFallen: boolean } {
    const [x = 0, speed = 0, angle = 0, turn = 0] = this.state;
    const force = action === 1 ? FORCE : -FORCE;
    const sine = Math.sin(angle);
    const cosine = Math.cos(angle);
    const push = (force + POLE * HALF_LENGTH * turn ** 2 * sine) / TOTAL;
    const turning = (GRAVITY * sine - cosine * push) / (HALF_LENGTH * (4 / 3 - (POLE * cosine ** 2) / TOTAL));
    const moving = push - (POLE * HALF_LENGTH * turning * cosine) / TOTAL;
    this.state = [x + SECONDS * speed, speed + SECONDS * moving, angle + SECONDS * turn, turn + SECONDS * turning];
    this.#steps++;
    const [position = 0, , tilt = 0] = this.state;
    const isFallen = Math.abs(position) > LARGEST_POSITION || Math.abs(tilt) > LARGEST_ANGLE;
    return { isOver: isFallen || this.#steps >= LONGEST, isFallen };
  }
}
