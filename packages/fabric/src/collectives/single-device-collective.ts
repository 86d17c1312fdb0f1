// The collectives of one process: everything is there already.
import type { Tensor } from "@fabric-ts/torch";
import { Collective } from "./collective.js";

/** Collectives of a process alone, so that code written for several runs in one. */
export class SingleDeviceCollective extends Collective<object> {
  get rank(): number {
    return 0;
  }
  get worldSize(): number {
    return 1;
  }

  async broadcast(tensor: Tensor, _src?: number): Promise<Tensor> {
    return tensor;
  }
  async allReduce(tensor: Tensor, _op?: string): Promise<Tensor> {
    return tensor;
  }
  async reduce(tensor: Tensor, _dst?: number, _op?: string): Promise<Tensor> {
    return tensor;
  }
  async allGather(_tensorList: Tensor[], tensor: Tensor): Promise<Tensor[]> {
    return [tensor];
  }
  async gather(tensor: Tensor, _gatherList?: Tensor[] | null, _dst?: number): Promise<Tensor[]> {
    return [tensor];
  }
  async scatter(tensor: Tensor, scatterList: Tensor[] | null, _src?: number): Promise<Tensor> {
    return scatterList?.[0] ?? tensor;
  }
  async reduceScatter(output: Tensor, inputList: Tensor[], _op?: string): Promise<Tensor> {
    return inputList[0] ?? output;
  }
  async allToAll(_outputList: Tensor[], inputList: Tensor[]): Promise<Tensor[]> {
    return inputList;
  }
  async send(_tensor?: Tensor, _dst?: number, _tag?: number): Promise<void> {}
  async recv(tensor: Tensor, _src?: number | null, _tag?: number): Promise<Tensor> {
    return tensor;
  }
  async barrier(_deviceIds?: number[] | null): Promise<void> {}

  isAvailable(): boolean {
    return true;
  }
  isInitialized(): boolean {
    return true;
  }
  async initGroup(): Promise<void> {}
  async newGroup(): Promise<object> {
    return {};
  }
  destroyGroup(): void {}
  convertToNativeOp(op: string): string {
    return op;
  }
}
