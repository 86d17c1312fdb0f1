// `nn`: modules, layers and losses; functions, initializations and utilities in namespaces of their own.
export type { FactoryOptions } from "./arguments.js";
export { ModuleDict } from "./containers/module-dict.js";
export { ModuleList } from "./containers/module-list.js";
export { ParameterDict } from "./containers/parameter-dict.js";
export { ParameterList } from "./containers/parameter-list.js";
export { Sequential } from "./containers/sequential.js";
export type { ModuleTarget } from "./convert.js";
export * as functional from "./functional/index.js";
export * as init from "./init.js";
export * from "./layers/activations.js";
export { BatchNorm1d } from "./layers/batch-norm1d.js";
export { BatchNorm2d } from "./layers/batch-norm2d.js";
export { BatchNorm3d } from "./layers/batch-norm3d.js";
export { Bilinear } from "./layers/bilinear.js";
export { ChannelShuffle } from "./layers/channel-shuffle.js";
export { ConvTranspose1d } from "./layers/conv-transpose1d.js";
export { ConvTranspose2d } from "./layers/conv-transpose2d.js";
export { ConvTranspose3d } from "./layers/conv-transpose3d.js";
export { Conv1d } from "./layers/conv1d.js";
export { Conv2d } from "./layers/conv2d.js";
export { Conv3d } from "./layers/conv3d.js";
export { CosineSimilarity, PairwiseDistance } from "./layers/distance.js";
export { Dropout } from "./layers/dropout.js";
export { AlphaDropout, Dropout1d, Dropout3d, FeatureAlphaDropout } from "./layers/dropout-kinds.js";
export { Dropout2d } from "./layers/dropout2d.js";
export { Embedding, type EmbeddingOptions } from "./layers/embedding.js";
export { type BagArguments, EmbeddingBag, type EmbeddingBagOptions } from "./layers/embedding-bag.js";
export { Fold, PixelShuffle, PixelUnshuffle, Unfold } from "./layers/fold.js";
export { GroupNorm } from "./layers/group-norm.js";
export {
  InstanceNorm1d,
  InstanceNorm2d,
  InstanceNorm3d,
  type InstanceNormLayerOptions,
} from "./layers/instance-norm.js";
export { LayerNorm } from "./layers/layer-norm.js";
export { Linear } from "./layers/linear.js";
export { LocalResponseNorm } from "./layers/local-response-norm.js";
export * from "./layers/losses.js";
export * from "./layers/margin-losses.js";
export {
  type AttentionCallOptions,
  MultiheadAttention,
  type MultiheadAttentionOptions,
} from "./layers/multihead-attention.js";
export * from "./layers/padding.js";
export * from "./layers/pooling.js";
export { GRU, LSTM, type RecurrentOptions, RNN } from "./layers/recurrent.js";
export { GRUCell, LSTMCell, type RecurrentCellOptions, RNNCell } from "./layers/recurrent-cells.js";
export { RMSNorm, type RMSNormOptions } from "./layers/rms-norm.js";
export { Flatten, Identity, Unflatten } from "./layers/shape.js";
export { SyncBatchNorm, type SyncBatchNormOptions } from "./layers/sync-batch-norm.js";
export { Transformer, type TransformerMasks, type TransformerOptions } from "./layers/transformer.js";
export {
  type DecoderMasks,
  TransformerDecoder,
  TransformerDecoderLayer,
  type TransformerDecoderLayerOptions,
} from "./layers/transformer-decoder.js";
export {
  type EncoderMasks,
  TransformerEncoder,
  TransformerEncoderLayer,
  type TransformerEncoderLayerOptions,
} from "./layers/transformer-encoder.js";
export { Upsample, type UpsampleOptions } from "./layers/upsample.js";
export {
  type AnyModule,
  type FullBackwardHook,
  type FullBackwardPreHook,
  type HookFunction,
  type LoadStateDictPostHook,
  type LoadStateDictPreHook,
  Module,
  type PreHookFunction,
  type StateDictPostHook,
  type StateDictPreHook,
} from "./module.js";
export type { Gradients } from "./module-state.js";
export * as parallel from "./parallel/index.js";
export { Parameter } from "./parameter.js";
export type { RemovableHandle } from "./removable-handle.js";
export type { LoadOptions, LoadResult, StateDict, StateDictOptions } from "./state-dict.js";
export * as utils from "./utils.js";
