// Adam with decoupled weight decay. Everything but the decay is in adam.ts.
import { Adam, type AdamOptions, adamDefaults } from "./adam.js";
import { Optimizer } from "./optimizer.js";
import type { ParamsInput } from "./param-group.js";
