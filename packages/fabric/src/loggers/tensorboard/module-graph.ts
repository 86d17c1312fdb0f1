// A model as a graph: one node for each call of a layer. LibTorch has no tracer that TypeScript could use, so what happens between the
// layers is not seen. A tensor that goes from one layer straight into another is an edge; otherwise a dotted edge shows the order.
import { type nn, noGrad, Tensor } from "@fabric-ts/torch";
import { applyToCollection } from "../../utilities/apply-to-collection.js";
import { className } from "../../utilities/describe.js";
import { ProtoWriter } from "./protobuf.js";

interface GraphNode {
  name: string;
  op: string;
  inputs: Set<string>;
  shapes: number[][];
  parameters: number;
}

/** internal: runs the model once, in evaluation mode, and returns what its layers did as a GraphDef. */
export function moduleGraph(model: nn.AnyModule, inputs: readonly Tensor[]): Uint8Array {
  const root = className(model);
  const nodes: GraphNode[] = [];
  const madeBy = new Map<Tensor, string>();
  const names = new Set<string>();
  let previous: string | null = null;

  const addNode = (wanted: string, op: string, from: unknown, result: unknown, parameters = 0): void => {
    let name = wanted;
    for (let call = 1; names.has(name); call++) name = `${wanted}_${call}`;
    names.add(name);
    const sources = new Set<string>();
    let isKnown = true;
    for (const tensor of tensorsOf(from)) {
      const source = madeBy.get(tensor);
      if (source === undefined) isKnown = false;
      else sources.add(source);
    }
    if (!isKnown && previous !== null && !sources.has(previous)) sources.add(`^${previous}`);
    const results = tensorsOf(result);
    for (const tensor of results) madeBy.set(tensor, name);
    nodes.push({ name, op, inputs: sources, shapes: results.map((tensor) => [...tensor.shape]), parameters });
    previous = name;
  };

  const modules = model.namedModules();
  const hooks = modules
    .filter(([, module]) => module.children().length === 0)
    .map(([path, module]) => {
      const name = path === "" ? root : `${root}/${path.replaceAll(".", "/")}`;
      const parameters = module.parameters().reduce((sum, parameter) => sum + parameter.numel(), 0);
      return module.registerForwardHook((_module: unknown, args: unknown, output: unknown) => {
        addNode(name, className(module), args, output, parameters);
      });
    });
  const modes = modules.map(([, module]) => [module, module.training] as const);
  try {
    inputs.forEach((input, i) => {
      addNode(`input/${i}`, "Placeholder", [], input);
    });
    previous = null;
    model.eval();
    const output: unknown = noGrad(() => model(...inputs));
    addNode("output", "Output", output, []);
  } finally {
    for (const hook of hooks) hook.remove();
    for (const [module, mode] of modes) module.training = mode;
  }
  return writeGraph(nodes);
}

function tensorsOf(value: unknown): Tensor[] {
  const found: Tensor[] = [];
  applyToCollection(
    value,
    (leaf) => leaf instanceof Tensor,
    (leaf: Tensor) => {
      found.push(leaf);
      return leaf;
    },
  );
  return found;
}

function writeGraph(nodes: readonly GraphNode[]): Uint8Array {
  const graph = new ProtoWriter();
  for (const { name, op, inputs, shapes, parameters } of nodes) {
    graph.message(1, (node) => {
      node.string(1, name).string(2, op);
      for (const input of inputs) node.string(3, input);
      attribute(node, "_output_shapes", (value) =>
        value.message(1, (list) => {
          for (const shape of shapes) {
            list.message(7, (dims) => {
              for (const size of shape) dims.message(2, (dim) => dim.int64(1, size));
            });
          }
        }),
      );
      if (parameters > 0) attribute(node, "parameters", (value) => value.int64(3, parameters));
    });
  }
  return graph.message(4, (versions) => versions.int64(1, 22)).finish();
}

function attribute(node: ProtoWriter, key: string, fill: (value: ProtoWriter) => unknown): void {
  node.message(5, (entry) => entry.string(1, key).message(2, fill));
}
