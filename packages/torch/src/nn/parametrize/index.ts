// The `nn.utils.parametrize` namespace.
export {
  cached,
  isParametrized,
  type Parametrization,
  ParametrizationList,
  type ParametrizeOptions,
  registerParametrization,
  removeParametrizations,
} from "./parametrize.js";
