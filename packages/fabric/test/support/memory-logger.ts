// A logger that keeps what it is given.
import { Logger } from "@fabric-ts/fabric";

/** `logged` has the metrics and the step of each call. */
export class MemoryLogger extends Logger {
  logged: [metrics: Record<string, unknown>, step: number | undefined][] = [];
  override get name(): string {
    return "memory";
  }
  override get version(): number {
    return 0;
  }
  override logMetrics(metrics: Record<string, unknown>, step?: number): void {
    this.logged.push([metrics, step]);
  }
  override logHyperparams(): void {}
}
