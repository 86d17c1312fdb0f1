// The terminal that the first rank and the supervisor share: a line that the rank draws again and again is erased before others print.
import { builtins } from "@fabric-ts/torch/base";

let hasLiveLine = false;

/** internal: the first rank has begun to draw a live line, or has stopped to. */
export function setLiveLine(isShown: boolean): void {
  hasLiveLine = isShown;
}

/** internal: what has to come before lines that are written to a file descriptor. */
export function lineStart(fd: number): string {
  return hasLiveLine && builtins.tty.isatty(fd) ? "\r\x1b[K" : "";
}
