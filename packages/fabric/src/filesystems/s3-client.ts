// The AWS SDK, which is loaded when the first s3:// path is used: the package does not need it otherwise.
import { CheckpointError, FabricError, NotSupportedError } from "@fabric-ts/torch";
import { changedMeanwhile, shownAddress } from "./address.js";
import { BrokenOff } from "./ranges.js";

/** What is used of an `S3Client`. */
export interface S3ClientLike {
  // biome-ignore lint/suspicious/noExplicitAny: commands and answers of a package that is optional
  send(command: any, options?: { abortSignal?: AbortSignal }): Promise<any>;
}

/** internal: an answer of the store, as far as it is used. */
export interface S3Answer {
  Body?: AsyncIterable<Uint8Array>;
  ContentRange?: string;
  ContentLength?: number;
  ETag?: string;
  LastModified?: Date;
  UploadId?: string;
  Metadata?: Record<string, string>;
  Contents?: { Key?: string; Size?: number; LastModified?: Date }[];
  CommonPrefixes?: { Prefix?: string }[];
  NextContinuationToken?: string;
  Errors?: { Code?: string; Message?: string }[];
}

/** internal: sends a command by its name, such as `send("GetObject", { Bucket, Key })`. */
export type Send = (command: string, input: object, signal?: AbortSignal) => Promise<S3Answer>;

/** internal: a client and the commands that it takes. */
export async function connect(given: S3ClientLike | undefined, config: object): Promise<Send> {
  const sdk = await loadSdk();
  const client = given ?? new (sdk.S3Client as new (config: object) => S3ClientLike)(config);
  return async (command, input, signal) => {
    const Command = sdk[`${command}Command`] as new (input: object) => object;
    return (await client.send(new Command(input), signal ? { abortSignal: signal } : {})) as S3Answer;
  };
}

const sdkName = "@aws-sdk/client-s3";

async function loadSdk(): Promise<Record<string, unknown>> {
  try {
    return (await import(sdkName)) as Record<string, unknown>;
  } catch (cause) {
    const { code } = cause as { code?: string };
    if (code !== "ERR_MODULE_NOT_FOUND" && code !== "MODULE_NOT_FOUND") throw cause;
    throw new NotSupportedError(`Paths that begin with s3:// need the package ${sdkName}, which is not installed.`, {
      hint: `Type \`npm install ${sdkName}\`.`,
      cause,
    });
  }
}

/** internal: true when a command failed because there is no such object. */
export function isNotFound(error: unknown): boolean {
  const { name, $metadata } = error as S3Failure;
  return name === "NoSuchKey" || name === "NotFound" || (name !== "NoSuchBucket" && $metadata?.httpStatusCode === 404);
}

interface S3Failure {
  name?: string;
  message?: string;
  code?: string;
  $metadata?: { httpStatusCode?: number };
}

/** internal: the error for a command that failed. The SDK's own error is not passed on: it may carry keys and signatures. */
export function s3Error(what: string, path: string, error: unknown): Error {
  if (error instanceof FabricError || error instanceof BrokenOff) return error;
  const { name = "Error", message = "", code, $metadata } = error as S3Failure;
  const shown = shownAddress(path);
  const status = $metadata?.httpStatusCode;
  if (name === "NoSuchBucket") {
    return new CheckpointError(`${shown} cannot be ${what}: there is no such bucket.`, {
      code: "ENOENT",
      hint: "Check the name of the bucket, or make it first.",
    });
  }
  if (isNotFound(error)) {
    return new CheckpointError(`Checkpoint file not found: ${shown}`, { code: "ENOENT", hint: "Check the address." });
  }
  if (status === 412) return changedMeanwhile(shown);
  if (name === "CredentialsProviderError" || /credential/i.test(message)) {
    return new CheckpointError(`${shown} cannot be ${what}: there are no credentials for the store.`, {
      code: "EACCES",
      hint: "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
    });
  }
  if (/region is missing/i.test(message)) {
    return new CheckpointError(`${shown} cannot be ${what}: the region of the bucket is not known.`, {
      code: "EINVAL",
      hint: "Set AWS_REGION.",
    });
  }
  const forbidden = status === 401 || status === 403;
  const reason = [status, name === "Error" ? code : name, withoutSecrets(message)].filter(Boolean).join(" ");
  return new CheckpointError(`${shown} cannot be ${what}: the store answered ${reason}`, {
    code: forbidden ? "EACCES" : (code ?? "EIO"),
    hint: forbidden ? "Check the credentials and their rights to the bucket." : "Check the store and the connection.",
  });
}

function withoutSecrets(message: string): string {
  return message
    .replace(/\b(Signature|Credential|AccessKeyId|AWSAccessKeyId|Token)(["':=\s]+)[^&\s,"']+/gi, "$1$2...")
    .replace(/\b(AKIA|ASIA)[0-9A-Z]{12,}/g, "...");
}
