// A note for jobs on several machines whose meeting point has a name that this machine does not know.

type Lookup = (address: string) => Promise<unknown>;

/**
 * internal: says so when the address of machine 0 cannot be found. The ranks go on trying all the same: on some clusters names are known
 * only a while after the machines have started.
 */
export async function noteUnknownAddress(
  address: string,
  say: (text: string) => void,
  lookup: Lookup = systemLookup,
): Promise<void> {
  try {
    await lookup(address);
  } catch (error) {
    const { code = "unknown" } = error as { code?: string };
    say(
      `The main address "${address}" is not known on this machine (${code}). The ranks try it until their time is over; check \`--main-address\` or MASTER_ADDR: the name or IP address of machine 0.\n`,
    );
  }
}

async function systemLookup(address: string): Promise<unknown> {
  const { lookup } = await import("node:dns/promises");
  return await lookup(address);
}
