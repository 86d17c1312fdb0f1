// `nn.functional`: the functions behind the layers, without state. Their operators and defaults are those of
// `torch.nn.functional`, so results are the same to the last bit.
export * from "./activation.js";
export * from "./attention.js";
export * from "./convolution.js";
export * from "./distance.js";
export * from "./dropout.js";
export * from "./embedding.js";
export * from "./fold.js";
export * from "./grid.js";
export * from "./interpolate.js";
export * from "./linear.js";
export * from "./loss.js";
export * from "./normalization.js";
export * from "./padding.js";
export * from "./pooling.js";
