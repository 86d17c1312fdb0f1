// One line of a terminal that is drawn again and again, below everything else that this process, or another rank, prints.
import { reportLiveLine } from "../environments/rank-channel.js";
import { type QuietStream, writeQuietly } from "../utilities/write-quietly.js";

/** The part of a terminal, or of another output, that is needed: `process.stdout` and everything like it. */
export interface ProgressStream extends QuietStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  hasColors?(): boolean;
  on?(event: "resize", listener: () => void): unknown;
  off?(event: "resize", listener: () => void): unknown;
}

const toLineStart = "\r\x1b[K";

/** internal: a live line on a terminal. What is printed while it is shown comes above it. */
export class LiveLine {
  readonly #stream: ProgressStream;
  #render: ((columns: number) => string) | null = null;
  #isDrawing = false;
  /** False while something printed has not ended its line; the launcher must not erase that. */
  #ownsLine = false;
  #undo: (() => void)[] = [];

  constructor(stream: ProgressStream) {
    this.#stream = stream;
  }

  /** Draws what `render` returns for the number of columns that there are, at most. */
  draw(render: (columns: number) => string): void {
    if (this.#render === null) this.#start();
    this.#render = render;
    this.#redraw();
  }
  /** Leaves the line as it is; what comes is below it. */
  end(): void {
    if (this.#render === null) return;
    if (this.#ownsLine) this.#write("\n");
    this.#render = null;
    for (const undo of this.#undo.splice(0)) undo();
  }

  #start(): void {
    const redraw = (): void => this.#redraw();
    const end = (): void => this.end();
    const terminals = [process.stdout, process.stderr].filter(({ isTTY }) => isTTY);
    const isOurs = terminals.some((terminal) => terminal === this.#stream);
    this.#stream.on?.("resize", redraw);
    process.on("exit", end);
    this.#undo.push(
      () => this.#stream.off?.("resize", redraw),
      () => process.off("exit", end),
      ...(isOurs ? terminals.map((terminal) => this.#intercept(terminal)) : []),
      () => this.#own(false),
    );
    this.#own(true);
  }

  #redraw(): void {
    if (this.#render === null) return;
    // While JavaScript never waits, Node does not notice that the window was resized.
    (this.#stream as { _refreshSize?(): void })._refreshSize?.();
    // The last column stays free: some terminals begin a new line after it.
    const text = this.#render((this.#stream.columns || 80) - 1);
    this.#write(`${this.#ownsLine ? "" : "\n"}\r${text}\x1b[K`);
    this.#own(true);
  }

  #own(ownsLine: boolean): void {
    if (ownsLine === this.#ownsLine) return;
    this.#ownsLine = ownsLine;
    reportLiveLine(ownsLine);
  }

  #write(text: string): void {
    this.#isDrawing = true;
    try {
      writeQuietly(this.#stream, text);
    } finally {
      this.#isDrawing = false;
    }
  }

  /** Has the line erased before others print on the terminal, and drawn again after. Returns what undoes it. */
  #intercept(stream: NodeJS.WriteStream): () => void {
    const original = stream.write as (...args: unknown[]) => boolean;
    const hadOwn = Object.hasOwn(stream, "write");
    const intercepting = (...args: unknown[]): boolean => {
      if (this.#isDrawing || this.#render === null) return original.apply(stream, args);
      if (this.#ownsLine) this.#write(toLineStart);
      const result = original.apply(stream, args);
      this.#own(endsLine(args[0]));
      if (this.#ownsLine) this.#redraw();
      return result;
    };
    stream.write = intercepting as typeof stream.write;
    return () => {
      // Somebody else may have taken it over meanwhile; then it stays, and only passes on.
      if (stream.write !== (intercepting as typeof stream.write)) return;
      if (hadOwn) stream.write = original as typeof stream.write;
      else delete (stream as Partial<NodeJS.WriteStream>).write;
    };
  }
}

function endsLine(chunk: unknown): boolean {
  return typeof chunk === "string" ? chunk.endsWith("\n") : (chunk as Uint8Array | undefined)?.at(-1) === 0x0a;
}
