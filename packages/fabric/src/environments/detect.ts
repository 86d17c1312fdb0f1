// Which cluster this process runs in.
import type { ClusterEnvironment } from "./cluster-environment.js";
import { LightningEnvironment } from "./lightning.js";
import { LSFEnvironment } from "./lsf.js";
import { MPIEnvironment } from "./mpi.js";
import { SLURMEnvironment } from "./slurm.js";
import { TorchElasticEnvironment } from "./torchelastic.js";

// torchrun comes first: it may run inside of a SLURM allocation.
const detectable = [TorchElasticEnvironment, SLURMEnvironment, LSFEnvironment, MPIEnvironment];

/** internal: the first environment that detects itself, else the default one. */
export function detectEnvironment(): ClusterEnvironment {
  for (const Environment of detectable) if (Environment.detect()) return new Environment();
  return new LightningEnvironment();
}
