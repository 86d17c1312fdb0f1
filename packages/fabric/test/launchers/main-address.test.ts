// The note about a meeting point that nobody knows.
import assert from "node:assert/strict";
import { it } from "node:test";
import { noteUnknownAddress } from "../../dist/launchers/main-address.js";

it("an address that cannot be found is told of, with what to check", async () => {
  const said: string[] = [];
  const unknown = (): Promise<never> => Promise.reject(Object.assign(new Error("no"), { code: "ENOTFOUND" }));
  await noteUnknownAddress("node-0", (text) => said.push(text), unknown);
  assert.equal(said.length, 1);
  assert.match(
    said[0] as string,
    /^The main address "node-0" is not known on this machine \(ENOTFOUND\)\..*--main-address.*\n$/,
  );
});

it("one that can be found is not", async () => {
  await noteUnknownAddress("127.0.0.1", (text) => assert.fail(text));
});
