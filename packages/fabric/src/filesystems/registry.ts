// Which file system a path belongs to, by its scheme.
import { ConfigurationError, NotSupportedError } from "@fabric-ts/torch";
import { describe } from "../utilities/describe.js";
import { invalidAddress, schemeOf, shownAddress } from "./address.js";
import { FileSystem } from "./file-system.js";
import { HttpFileSystem } from "./http.js";
import { LocalFileSystem } from "./local.js";
import { S3FileSystem } from "./s3.js";

/** A file system, or what makes one when it is needed for the first time. */
export type FileSystemMaker = FileSystem | (() => FileSystem);

const makers = new Map<string, FileSystemMaker>();
const made = new Map<string, FileSystem>();

/**
 * Says where the files of a scheme are kept. `s3`, `http`, `https` and `file` are there already; replacing one needs `override`.
 *
 *     registerFileSystem("s3", () => new S3FileSystem({ endpoint: "https://minio.example.com" }), { override: true });
 *     await fabric.save("s3://bucket/last.ckpt", state);
 */
export function registerFileSystem(scheme: string, maker: FileSystemMaker, options: { override?: boolean } = {}): void {
  if (typeof scheme !== "string" || !/^[a-z][a-z0-9+.-]+$/.test(scheme)) {
    throw new TypeError(
      `Expected the scheme of a file system to be lower-case letters, but got ${describe(scheme)}.\nFor example \`registerFileSystem("gs", () => new MyFileSystem())\`.`,
    );
  }
  if (!(maker instanceof FileSystem) && typeof maker !== "function") {
    throw new TypeError(
      `Expected a FileSystem or a function that makes one, but got ${describe(maker)}.\nFor example \`registerFileSystem("${scheme}", () => new MyFileSystem())\`.`,
    );
  }
  if (makers.has(scheme) && !options.override) {
    throw new ConfigurationError(`There is a file system for ${scheme}:// already.`, {
      hint: "Pass `{ override: true }` to replace it.",
    });
  }
  makers.set(scheme, maker);
  made.delete(scheme);
}

/**
 * The file system of a path, and the path as its methods take it.
 *
 *     const { fileSystem, path } = fileSystemOf("s3://bucket/checkpoints");
 *     for (const { name } of await fileSystem.list(path)) console.log(name);
 */
export function fileSystemOf(path: string | URL): { fileSystem: FileSystem; path: string } {
  if (!(path instanceof URL) && (typeof path !== "string" || path === "" || path.includes("\0"))) {
    throw new TypeError(
      `Expected a checkpoint's path to be a string or a URL, but got ${describe(path)}.\nFor example \`"checkpoints/last.ckpt"\`.`,
    );
  }
  const text = path instanceof URL ? textOf(path) : path;
  const scheme = (path instanceof URL ? path.protocol.slice(0, -1) : schemeOf(text)) ?? "file";
  const fileSystem = made.get(scheme) ?? make(scheme, text);
  made.set(scheme, fileSystem);
  return { fileSystem, path: text };
}

/** internal: true when a scheme has a file system. */
export function hasFileSystem(scheme: string): boolean {
  return makers.has(scheme);
}

// The keys of object stores have no escapes.
function textOf({ protocol, href }: URL): string {
  if (/^(file|https?):$/.test(protocol)) return href;
  try {
    return decodeURI(href);
  } catch {
    throw invalidAddress(href);
  }
}

function make(scheme: string, path: string): FileSystem {
  const maker = makers.get(scheme);
  if (maker === undefined) {
    throw new NotSupportedError(`No file system is registered for ${scheme}://, the scheme of ${shownAddress(path)}.`, {
      hint: `Known are ${[...makers.keys()].map((name) => `${name}://`).join(", ")}; add one with \`registerFileSystem("${scheme}", () => new MyFileSystem())\`.`,
    });
  }
  const fileSystem = maker instanceof FileSystem ? maker : maker();
  if (fileSystem instanceof FileSystem) return fileSystem;
  throw new TypeError(
    `The function registered for ${scheme}:// did not make a FileSystem, but ${describe(fileSystem)}.\nExtend \`FileSystem\`.`,
  );
}

registerFileSystem("file", new LocalFileSystem());
registerFileSystem("http", () => new HttpFileSystem());
registerFileSystem("https", () => new HttpFileSystem());
registerFileSystem("s3", () => new S3FileSystem());
