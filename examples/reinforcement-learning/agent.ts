// What both programs beside this file have in common: the agent, the games that it plays, and the loss of PPO (Schulman et al. 2017).
import { data, fromTypedArray, minimum, multinomial, nn, noGrad, type Tensor, tensor } from "@fabric-ts/torch";
import { CartPole, LONGEST } from "./cart-pole.js";

/** Scores of both actions, and what it expects the rest of the game to be worth. */
export class Agent extends nn.Module<[Tensor], { logits: Tensor; values: Tensor }> {
  actor = network(2);
  critic = network(1);

  forward(states: Tensor): { logits: Tensor; values: Tensor } {
    return { logits: this.actor(states), values: this.critic(states).squeeze(1) };
  }
}

function network(outputs: number): nn.Sequential {
  return new nn.Sequential(
    new nn.Linear(4, 64),
    new nn.Tanh(),
    new nn.Linear(64, 64),
    new nn.Tanh(),
    new nn.Linear(64, outputs),
  );
}

/** Moves that were played: states [n, 4], and for each the action, its probability then (log), its advantage and the return. */
export type Experience = [
  states: Tensor,
  actions: Tensor,
  logProbabilities: Tensor,
  advantages: Tensor,
  returns: Tensor,
];

/** Plays several games at once with an agent. */
export class Player {
  readonly #agent: Agent;
  readonly #games: CartPole[];
  readonly #lengths: number[];
  #finished: number[] = [];

  constructor(agent: Agent, games: number, seed: number) {
    this.#agent = agent;
    this.#games = Array.from({ length: games }, (_, i) => new CartPole(1000 * seed + i));
    this.#lengths = new Array(games).fill(0);
  }

  /** Lengths of the games that ended since the last call. */
  takeLengths(): number[] {
    const finished = this.#finished;
    this.#finished = [];
    return finished;
  }

  /** Plays `steps` moves in each game. */
  play(steps: number, { gamma = 0.98, lambda = 0.9 } = {}): Experience {
    const count = this.#games.length;
    const size = steps * count;
    const states = new Float32Array(size * 4);
    const actions = new BigInt64Array(size);
    const logProbabilities = new Float32Array(size);
    const values = new Float32Array(size + count);
    const rewards = new Float32Array(size).fill(1);
    const over = new Uint8Array(size);

    for (let step = 0; step <= steps; step++) {
      const now = Float32Array.from(this.#games.flatMap((game) => game.state));
      const choice = noGrad(() => {
        const { logits, values } = this.#agent(fromTypedArray(now, { shape: [count, 4] }));
        const all = logits.logSoftmax(1);
        const action = multinomial(all.exp(), 1);
        return { action, logProbability: all.gather(1, action), values };
      });
      values.set(choice.values.toTypedArray() as Float32Array, step * count);
      if (step === steps) break; // only the values of the last states were wanted
      states.set(now, step * count * 4);
      actions.set(choice.action.toTypedArray() as BigInt64Array, step * count);
      logProbabilities.set(choice.logProbability.toTypedArray() as Float32Array, step * count);
      for (const [i, game] of this.#games.entries()) {
        const at = step * count + i;
        const { isOver, isFallen } = game.step(Number(actions[at]));
        this.#lengths[i] = (this.#lengths[i] ?? 0) + 1;
        if (!isOver) continue;
        over[at] = 1;
        // A game that was only too long would have gone on.
        if (!isFallen) rewards[at] = 1 + gamma * this.#valueOf(game.state);
        this.#finished.push(this.#lengths[i] ?? 0);
        this.#lengths[i] = 0;
        game.reset();
      }
    }

    // Generalized advantage estimation, backwards through time.
    const advantages = new Float32Array(size);
    const returns = new Float32Array(size);
    for (let i = 0; i < count; i++) {
      let advantage = 0;
      for (let step = steps - 1; step >= 0; step--) {
        const at = step * count + i;
        const goesOn = over[at] ? 0 : 1;
        const surprise = (rewards[at] ?? 0) + goesOn * gamma * (values[at + count] ?? 0) - (values[at] ?? 0);
        advantage = surprise + goesOn * gamma * lambda * advantage;
        advantages[at] = advantage;
        returns[at] = advantage + (values[at] ?? 0);
      }
    }
    return [
      fromTypedArray(states, { shape: [size, 4] }),
      fromTypedArray(actions),
      fromTypedArray(logProbabilities),
      fromTypedArray(advantages),
      fromTypedArray(returns),
    ];
  }

  /** Plays for as long as a game can last, and gives the mean length of the games that ended. */
  meanLength(): number {
    this.#finished = [];
    this.play(LONGEST);
    const lengths = this.takeLengths();
    return lengths.reduce((sum, length) => sum + length, 0) / lengths.length;
  }

  #valueOf(state: number[]): number {
    return noGrad(() => this.#agent(tensor([state])).values.item());
  }
}

/** How PPO learns from moves: gains are wanted, but no step far away from the policy that played. */
export function lossOf(agent: Agent, [states, actions, before, advantages, returns]: Experience): Tensor {
  const { logits, values } = agent(states);
  const all = logits.logSoftmax(1);
  const ratio = all.gather(1, actions.unsqueeze(1)).squeeze(1).sub(before).exp();
  const gains = advantages.sub(advantages.mean()).div(advantages.std().add(1e-8));
  const policy = minimum(ratio.mul(gains), ratio.clamp(0.8, 1.2).mul(gains)).mean().neg();
  const entropy = all.exp().mul(all).sum(1).mean().neg();
  return policy.add(nn.functional.mseLoss(values, returns).mul(0.5)).sub(entropy.mul(0.01));
}

/** The moves in shuffled batches, `epochs` times. */
export function* batchesOf(moves: Experience, epochs = 6, batchSize = 128): Generator<Experience> {
  const loader = new data.DataLoader(new data.TensorDataset(...moves), { batchSize, shuffle: true, dropLast: true });
  for (let epoch = 0; epoch < epochs; epoch++) yield* loader;
}
