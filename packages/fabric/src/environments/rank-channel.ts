// What a launched rank tells its launcher: how far it has come, and why it failed. The preload opens the channel; in every other
// process there is none and nothing is sent.

/** internal: how far a rank has come. A rank that has said nothing yet is "starting". */
export type RankPhase = "starting" | "launched" | "rendezvous" | "joined";

/** internal: one message, a line of JSON on the channel. */
export type RankMessage =
  | { type: "phase"; phase: RankPhase }
  /** The rank draws a line on the terminal again and again, or has stopped to. */
  | { type: "liveLine"; isShown: boolean }
  | {
      type: "error";
      /** The error's class, message and code. */
      name: string;
      message: string;
      code?: string | undefined;
      /** The error as it is shown to the user: stack, causes. Empty when Node itself prints it. */
      text: string;
      /** Its first line. */
      summary: string;
      /** What the rank was doing, where that is known. */
      place?: string | undefined;
      /** True for an error that a failing peer causes, such as a closed connection. */
      secondary: boolean;
    };

/** internal: the key under which the preload leaves the channel on `globalThis`. */
export const rankChannelKey: unique symbol = Symbol.for("@fabric-ts/fabric:rank-channel") as never;

interface RankChannel {
  send(message: RankMessage): void;
}

let reported: RankPhase = "starting";

/**
 * internal: tells the launcher how far this rank has come; does nothing where no launcher of ours started the process. "launched" is news
 * only at first: `fabric.launch()` may be called again later.
 */
export function reportPhase(phase: RankPhase): void {
  if (phase === "launched" && reported !== "starting") return;
  reported = phase;
  send({ type: "phase", phase });
}

/** internal: tells the launcher that a live line is on the terminal, so that it erases it before it prints; or that it is there no more. */
export function reportLiveLine(isShown: boolean): void {
  send({ type: "liveLine", isShown });
}

function send(message: RankMessage): void {
  (globalThis as { [rankChannelKey]?: RankChannel })[rankChannelKey]?.send(message);
}
