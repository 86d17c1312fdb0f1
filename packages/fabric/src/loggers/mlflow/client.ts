// One request to an MLflow server. Whatever goes wrong becomes an error without credentials in it.

/** internal: where the server is, and who asks. */
export interface MLflowServer {
  /** The address without credentials, query and trailing slash. */
  url: string;
  /** The `Authorization` header, if there is one. */
  authorization: string | null;
}

/** internal: a request that failed. */
export class MLflowError extends Error {
  /** HTTP status; 0 where no answer came. */
  readonly status: number;
  /** MLflow's own code, such as `RESOURCE_ALREADY_EXISTS`. */
  readonly errorCode: string;
  /** How long the server asks to wait, in milliseconds. */
  readonly retryAfterMs: number;

  constructor(message: string, status: number, errorCode = "", retryAfterMs = 0) {
    super(message);
    this.status = status;
    this.errorCode = errorCode;
    this.retryAfterMs = retryAfterMs;
  }

  /** True for what may go well later: no answer, too many requests, trouble on the server's side. */
  get isTemporary(): boolean {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

/** Answers are short; of a long one the rest is not read. */
const mostBytes = 1 << 20;

/** internal: posts `body` (or gets, without one) and returns the answer. */
export async function request(
  server: MLflowServer,
  path: string,
  body: object | null,
  timeoutMs: number,
  stop: AbortSignal,
): Promise<Record<string, unknown>> {
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (server.authorization !== null) headers.authorization = server.authorization;
  let status = 0;
  let headersOf: Headers;
  let text: string;
  try {
    const response = await fetch(`${server.url}/api/2.0/mlflow/${path}`, {
      method: body === null ? "GET" : "POST",
      headers,
      body: body === null ? null : JSON.stringify(body),
      signal: AbortSignal.any([stop, AbortSignal.timeout(Math.max(1, Math.ceil(timeoutMs)))]),
      // Another address would get the credentials.
      redirect: "manual",
    });
    text = await readText(response);
    status = response.status;
    headersOf = response.headers;
  } catch (error) {
    throw new MLflowError(withoutCredentials(`no answer (${causeOf(error)})`, server), 0);
  }
  const answer = parsed(text);
  if (status >= 200 && status < 300 && answer !== null) return answer;
  const { error_code: code, message } = answer ?? {};
  let detail = typeof message === "string" ? message : text;
  if (status < 300) detail = "the answer is not JSON";
  else if (status < 400) detail = "the server has another address; give that one";
  const said = withoutCredentials(detail, server).replace(/\s+/g, " ").slice(0, 300);
  const wait = Math.min(Number(headersOf.get("retry-after")) || 0, 60) * 1000;
  throw new MLflowError(`${status} ${said}`, status, typeof code === "string" ? code : "", wait);
}

async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk as Uint8Array);
    bytes += (chunk as Uint8Array).length;
    if (bytes > mostBytes) break;
  }
  return Buffer.concat(chunks).toString("utf8");
}

function parsed(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = text === "" ? {} : JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

function causeOf(error: unknown): string {
  const { name, message, cause } = error as { name?: string; message?: string; cause?: { code?: string } };
  if (name === "TimeoutError" || name === "AbortError") return "timeout";
  return cause?.code ?? message ?? String(error);
}

/** internal: a text in which the credentials, should it contain any, are masked, also as they travel. */
export function withoutCredentials(text: string, { authorization }: MLflowServer): string {
  if (authorization === null) return text;
  const sent = authorization.slice(authorization.indexOf(" ") + 1);
  const parts = [sent];
  if (authorization.startsWith("Basic ")) {
    const pair = Buffer.from(sent, "base64").toString("utf8");
    parts.push(pair, pair.slice(pair.indexOf(":") + 1));
  }
  return parts.filter((part) => part !== "").reduce((result, part) => result.replaceAll(part, "***"), text);
}
