// external.js: a rank that somebody else has started.
process.env.LOCAL_RANK = "1";
const { LightningEnvironment, ScriptLauncher } = await import("@fabric-ts/fabric");
const environment = new LightningEnvironment();
process.env.OMP_NUM_THREADS ??= "1";
console.log(`rank ${await new ScriptLauncher(environment, 2, 1).launch(() => environment.localRank())}`);
