// A check for trainings that average gradients in unusual ways.
import type { AllReduceOptions, Fabric } from "@fabric-ts/fabric";
import { nn } from "@fabric-ts/torch";

/** Whether models have the same weights, bit by bit, in all processes, or in those of a group. Call it on all of them. */
export async function haveSameWeights(
  fabric: Fabric,
  models: nn.AnyModule[],
  where: Pick<AllReduceOptions, "group"> = {},
): Promise<boolean> {
  const weights = nn.utils.parametersToVector(models.flatMap((model) => model.parameters())).detach();
  const most = await fabric.allReduce(weights.clone(), { ...where, reduceOp: "max" });
  const least = await fabric.allReduce(weights.clone(), { ...where, reduceOp: "min" });
  return most.equal(least);
}
