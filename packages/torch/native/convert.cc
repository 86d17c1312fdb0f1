// Conversion between JavaScript values and the engine's values, one small function for each kind.
#include "convert.h"

#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/core/Generator.h>

#include <cmath>
#include <sstream>

#include "compat.h"
#include "generator.h"

namespace fabric {

std::string camelCase(const std::string& name) {
  std::string result;
  bool upper = false;
  for (size_t i = 0; i < name.size(); i++) {
    if (name[i] == '_' && i > 0 && i + 1 < name.size()) {
      upper = true;
    } else {
      result += upper ? static_cast<char>(std::toupper(name[i])) : name[i];
      upper = false;
    }
  }
  return result;
}

static void setNumber(double number, JsValue* result) {
  result->kind = Js::Number;
  result->number = number;
  result->whole = std::trunc(result->number) == result->number && std::fabs(result->number) <= 9007199254740992.0 &&
                  !(result->number == 0 && std::signbit(result->number));
  if (result->whole) result->integer = static_cast<int64_t>(result->number);
}

static void classifyObject(Object* object, JsValue* result) {
  result->object = object;
  result->kind = Js::Other;
  if (!object) return;
  if (object->kind == Kind::Tensor) result->kind = Js::Tensor;
  if (object->kind == Kind::Generator) result->kind = Js::Generator;
  if (object->kind != Kind::NumberList) return;
  const double* memory = static_cast<NumberList*>(object)->memory;
  const auto count = static_cast<uint32_t>(memory[0]);
  result->kind = Js::Array;
  result->items.allocate(count);
  for (uint32_t i = 0; i < count; i++) setNumber(memory[i + 1], &result->items[i]);
}

static void classifyArray(napi_env env, JsValue* result) {
  uint32_t length = 0;
  if (napi_get_array_length(env, result->raw, &length) != napi_ok) {
    result->kind = Js::Other;
    return;
  }
  result->kind = Js::Array;
  result->items.allocate(length);
  for (uint32_t i = 0; i < length; i++) {
    napi_value item;
    check(napi_get_element(env, result->raw, i, &item));
    classify(env, item, &result->items[i]);
  }
}

void classify(napi_env env, napi_value value, JsValue* result) {
  result->raw = value;
  // Most values are tensors: asking for what is in an external tells that as well.
  void* pointer = nullptr;
  if (napi_get_value_external(env, value, &pointer) == napi_ok) {
    return classifyObject(static_cast<Object*>(pointer), result);
  }
  napi_valuetype type;
  check(napi_typeof(env, value, &type));
  switch (type) {
    case napi_undefined:
      break;
    case napi_null:
      result->kind = Js::Null;
      break;
    case napi_boolean:
      result->kind = Js::Bool;
      check(napi_get_value_bool(env, value, &result->flag));
      result->integer = result->flag;
      result->number = result->flag;
      break;
    case napi_number:
      check(napi_get_value_double(env, value, &result->number));
      setNumber(result->number, result);
      break;
    case napi_bigint:
      result->kind = Js::BigInt;
      result->integer = intOf(env, value, "bigint");
      result->number = static_cast<double>(result->integer);
      result->whole = true;
      break;
    case napi_string:
      result->kind = Js::String;
      break;
    case napi_object:
      classifyArray(env, result);
      break;
    default:
      result->kind = Js::Other;
  }
}

static const at::Tensor& tensorIn(const JsValue& value) { return static_cast<TensorHandle*>(value.object)->tensor; }

std::string describe(napi_env env, const JsValue& value) {
  switch (value.kind) {
    case Js::Undefined:
      return "undefined";
    case Js::Null:
      return "null";
    case Js::Bool:
      return value.flag ? "true" : "false";
    case Js::Number: {
      std::ostringstream text;
      text.precision(15);
      text << value.number;
      return text.str();
    }
    case Js::BigInt:
      return std::to_string(value.integer) + "n";
    case Js::String:
      return '"' + stringOf(env, value.raw) + '"';
    case Js::Tensor: {
      if (static_cast<TensorHandle*>(value.object)->released) return "a disposed tensor";
      const at::Tensor& tensor = tensorIn(value);
      std::string text = std::string("Tensor ") + dtypeName(tensor.scalar_type()) + " [";
      for (int64_t i = 0; i < tensor.dim(); i++) text += (i ? ", " : "") + std::to_string(tensor.size(i));
      return text + "]" + (tensor.is_cpu() ? "" : " on " + tensor.device().str());
    }
    case Js::Generator:
      return "a Generator";
    case Js::Array: {
      std::string text = "[";
      for (size_t i = 0; i < value.items.size() && i < 6; i++) text += (i ? ", " : "") + describe(env, value.items[i]);
      return text + (value.items.size() > 6 ? ", ...]" : "]");
    }
    case Js::Other: {
      napi_valuetype type = napi_undefined;
      napi_typeof(env, value.raw, &type);
      return type == napi_function ? "a function" : type == napi_symbol ? "a symbol" : "an object";
    }
  }
  return "a value";
}

// ---- plans --------------------------------------------------------------------------------------------------

static Tag listTag(const c10::TypePtr& element) {
  bool optional = false;
  switch (tagOf(element, &optional)) {
    case Tag::Int:
      return Tag::IntList;
    case Tag::Float:
      return Tag::FloatList;
    case Tag::Bool:
      return Tag::BoolList;
    case Tag::Scalar:
      return Tag::ScalarList;
    case Tag::String:
      return Tag::StringList;
    case Tag::Tensor:
      return optional ? Tag::OptionalTensorList : Tag::TensorList;
    default:
      return Tag::Unsupported;
  }
}

Tag tagOf(const c10::TypePtr& type, bool* optional) {
  switch (type->kind()) {
    case c10::TypeKind::OptionalType:
      *optional = true;
      return tagOf(type->castRaw<c10::OptionalType>()->getElementType(), optional);
    case c10::TypeKind::TensorType:
      return Tag::Tensor;
    case c10::TypeKind::IntType:
    case c10::TypeKind::SymIntType:
      return Tag::Int;
    case c10::TypeKind::FloatType:
    case c10::TypeKind::SymFloatType:
      return Tag::Float;
    case c10::TypeKind::BoolType:
      return Tag::Bool;
    case c10::TypeKind::NumberType:
      return Tag::Scalar;
    case c10::TypeKind::StringType:
      return Tag::String;
    case c10::TypeKind::ScalarTypeType:
      return Tag::Dtype;
    case c10::TypeKind::LayoutType:
      return Tag::Layout;
    case c10::TypeKind::MemoryFormatType:
      return Tag::MemoryFormat;
    case c10::TypeKind::DeviceObjType:
      return Tag::Device;
    case c10::TypeKind::GeneratorType:
      return Tag::Generator;
    case c10::TypeKind::ListType:
      return listTag(type->castRaw<c10::ListType>()->getElementType());
    default:
      return Tag::Unsupported;
  }
}

// ---- matching -----------------------------------------------------------------------------------------------

static bool isNumeric(const JsValue& v) { return v.kind == Js::Number || v.kind == Js::BigInt; }
static bool isScalar(const JsValue& v) { return isNumeric(v) || v.kind == Js::Bool; }
static bool isSingle(const JsValue& v) {
  return v.kind == Js::Tensor && !static_cast<TensorHandle*>(v.object)->released && tensorIn(v).numel() == 1;
}

template <typename Predicate>
static bool allItems(const ArgPlan& plan, const JsValue& value, Predicate predicate) {
  if (value.kind != Js::Array) return plan.fixedSize > 0 && predicate(value);
  for (const JsValue& item : value.items) {
    if (!predicate(item)) return false;
  }
  return true;
}

static bool parseLayout(const std::string& name, at::Layout* layout) {
  static constexpr std::pair<const char*, at::Layout> kLayouts[] = {{"strided", at::kStrided},
                                                                    {"sparse", at::kSparse},
                                                                    {"sparse_coo", at::kSparse},
                                                                    {"sparse_csr", at::kSparseCsr},
                                                                    {"mkldnn", at::kMkldnn}};
  for (const auto& [known, value] : kLayouts) {
    if (name == known) return *layout = value, true;
  }
  return false;
}

static bool parseMemoryFormat(const std::string& name, at::MemoryFormat* format) {
  static constexpr std::pair<const char*, at::MemoryFormat> kFormats[] = {
      {"contiguous", at::MemoryFormat::Contiguous},
      {"preserve", at::MemoryFormat::Preserve},
      {"channels_last", at::MemoryFormat::ChannelsLast},
      {"channels_last_3d", at::MemoryFormat::ChannelsLast3d}};
  for (const auto& [known, value] : kFormats) {
    if (name == known) return *format = value, true;
  }
  return false;
}

static bool parseDevice(const std::string& name, c10::optional<at::Device>* device) {
  try {
    *device = at::Device(name);
    return true;
  } catch (const c10::Error&) {
    return false;
  }
}

static bool matchesString(napi_env env, Tag tag, const JsValue& value) {
  if (value.kind != Js::String) return false;
  at::ScalarType dtype;
  at::Layout layout;
  at::MemoryFormat format;
  c10::optional<at::Device> device;
  switch (tag) {
    case Tag::Dtype:
      return findDtype(stringOf(env, value.raw), &dtype);
    case Tag::Layout:
      return parseLayout(stringOf(env, value.raw), &layout);
    case Tag::MemoryFormat:
      return parseMemoryFormat(stringOf(env, value.raw), &format);
    case Tag::Device:
      return parseDevice(stringOf(env, value.raw), &device);
    default:
      return true;
  }
}

bool matches(napi_env env, const ArgPlan& plan, const JsValue& value, bool lenient) {
  if (value.kind == Js::Null) return plan.optional;
  switch (plan.tag) {
    case Tag::Tensor:
      return value.kind == Js::Tensor || ((lenient || plan.takesNumber) && isScalar(value));
    case Tag::Int:
      return (isNumeric(value) && value.whole) || (lenient && isSingle(value));
    case Tag::Float:
      return isNumeric(value) || (lenient && isSingle(value));
    case Tag::Bool:
      return value.kind == Js::Bool;
    case Tag::Scalar:
      return isScalar(value) || (lenient && isSingle(value));
    case Tag::String:
    case Tag::Dtype:
    case Tag::Layout:
    case Tag::MemoryFormat:
    case Tag::Device:
      return matchesString(env, plan.tag, value);
    case Tag::Generator:
      return value.kind == Js::Generator;
    case Tag::IntList:
      return allItems(plan, value, [](const JsValue& v) { return isNumeric(v) && v.whole; });
    case Tag::FloatList:
      return allItems(plan, value, isNumeric);
    case Tag::BoolList:
      return allItems(plan, value, [](const JsValue& v) { return v.kind == Js::Bool; });
    case Tag::ScalarList:
      return allItems(plan, value, isScalar);
    case Tag::StringList:
      return allItems(plan, value, [](const JsValue& v) { return v.kind == Js::String; });
    case Tag::TensorList:
      return value.kind == Js::Array && allItems(plan, value, [](const JsValue& v) { return v.kind == Js::Tensor; });
    case Tag::OptionalTensorList:
      return value.kind == Js::Array && allItems(plan, value, [](const JsValue& v) {
               return v.kind == Js::Tensor || v.kind == Js::Null || v.kind == Js::Undefined;
             });
    case Tag::Unsupported:
      return false;
  }
  return false;
}

// ---- conversion ---------------------------------------------------------------------------------------------

static const at::Tensor& liveTensor(napi_env env, const ArgPlan& plan, const JsValue& value) {
  if (static_cast<TensorHandle*>(value.object)->released) return tensorOf(env, value.raw, plan.camelName.c_str());
  return tensorIn(value);
}

// Whole numbers become integer Scalars, so that `x.mul(2)` keeps int64.
static at::Scalar scalarOf(const JsValue& value) {
  if (value.kind == Js::Tensor) return tensorIn(value).item();
  if (value.kind == Js::Bool) return at::Scalar(value.flag);
  if (value.whole) return at::Scalar(value.integer);
  return at::Scalar(value.number);
}

static at::Tensor wrappedNumber(const JsValue& value) {
  const at::ScalarType dtype = value.kind == Js::Bool ? at::kBool : value.whole ? at::kLong : at::kDouble;
  at::Tensor tensor = at::scalar_tensor(scalarOf(value), dtype);
  tensor.unsafeGetTensorImpl()->set_wrapped_number(true);
  return tensor;
}

template <typename T, typename Get>
static c10::IValue listOf(const ArgPlan& plan, const JsValue& value, Get get) {
  c10::List<T> list;
  if (value.kind != Js::Array) {
    list.reserve(plan.fixedSize);
    for (int i = 0; i < plan.fixedSize; i++) list.push_back(get(value));
  } else {
    list.reserve(value.items.size());
    for (const JsValue& item : value.items) list.push_back(get(item));
  }
  return list;
}

static c10::IValue stringValue(napi_env env, const ArgPlan& plan, const JsValue& value) {
  const std::string text = stringOf(env, value.raw);
  if (plan.tag == Tag::Dtype) {
    at::ScalarType dtype = at::kFloat;
    findDtype(text, &dtype);
    return dtype;
  }
  if (plan.tag == Tag::Layout) {
    at::Layout layout = at::kStrided;
    parseLayout(text, &layout);
    return layout;
  }
  if (plan.tag == Tag::MemoryFormat) {
    at::MemoryFormat format = at::MemoryFormat::Contiguous;
    parseMemoryFormat(text, &format);
    return format;
  }
  if (plan.tag == Tag::Device) return at::Device(text);
  return text;
}

static int64_t integerOf(const JsValue& v) { return v.kind == Js::Tensor ? tensorIn(v).item<int64_t>() : v.integer; }
static double doubleOf(const JsValue& v) { return v.kind == Js::Tensor ? tensorIn(v).item<double>() : v.number; }

c10::IValue convert(napi_env env, const ArgPlan& plan, const JsValue& value) {
  if (value.kind == Js::Null) return c10::IValue();
  switch (plan.tag) {
    case Tag::Tensor:
      return value.kind == Js::Tensor ? liveTensor(env, plan, value) : wrappedNumber(value);
    case Tag::Int:
      return integerOf(value);
    case Tag::Float:
      return doubleOf(value);
    case Tag::Bool:
      return value.flag;
    case Tag::Scalar:
      return scalarOf(value);
    case Tag::String:
    case Tag::Dtype:
    case Tag::Layout:
    case Tag::MemoryFormat:
    case Tag::Device:
      return stringValue(env, plan, value);
    case Tag::Generator:
      return static_cast<GeneratorHandle*>(value.object)->generator;
    case Tag::IntList:
      return listOf<int64_t>(plan, value, integerOf);
    case Tag::FloatList:
      return listOf<double>(plan, value, doubleOf);
    case Tag::BoolList:
      return listOf<bool>(plan, value, [](const JsValue& v) { return v.flag; });
    case Tag::StringList:
      return listOf<std::string>(plan, value, [&](const JsValue& v) { return stringOf(env, v.raw); });
    case Tag::TensorList:
      return listOf<at::Tensor>(plan, value, [&](const JsValue& v) { return liveTensor(env, plan, v); });
    case Tag::ScalarList:
      return listOf<at::Scalar>(plan, value, scalarOf);
    case Tag::OptionalTensorList:
      return listOf<c10::optional<at::Tensor>>(plan, value, [&](const JsValue& v) -> c10::optional<at::Tensor> {
        if (v.kind != Js::Tensor) return c10::nullopt;
        return liveTensor(env, plan, v);
      });
    case Tag::Unsupported:
      break;
  }
  throw JsError("NotSupportedError",
                "The argument `" + plan.camelName + "` has a type that cannot be passed from JavaScript.");
}

// ---- results ------------------------------------------------------------------------------------------------

static napi_value complexValue(napi_env env, c10::complex<double> value) {
  napi_value result;
  check(napi_create_object(env, &result));
  check(napi_set_named_property(env, result, "re", jsNumber(env, value.real())));
  check(napi_set_named_property(env, result, "im", jsNumber(env, value.imag())));
  return result;
}

template <typename List, typename Make>
static napi_value arrayOf(napi_env env, const List& list, Make make) {
  napi_value result;
  check(napi_create_array_with_length(env, list.size(), &result));
  uint32_t i = 0;
  for (const auto& item : list) check(napi_set_element(env, result, i++, make(item)));
  return result;
}

napi_value revert(napi_env env, const c10::IValue& value, Tag tag) {
  if (value.isTensor()) return wrapTensor(env, value.toTensor());
  if (value.isNone()) return jsNull(env);
  if (value.isInt()) {
    if (tag == Tag::Dtype) return jsString(env, dtypeName(static_cast<at::ScalarType>(value.toInt())));
    return jsInt(env, value.toInt());
  }
  if (value.isDouble()) return jsNumber(env, value.toDouble());
  if (value.isBool()) return jsBool(env, value.toBool());
  if (value.isString()) return jsString(env, value.toStringRef());
  if (value.isComplexDouble()) return complexValue(env, value.toComplexDouble());
  if (value.isDevice()) return jsString(env, value.toDevice().str());
  if (value.isTensorList()) return wrapTensors(env, value.toTensorVector());
  if (value.isIntList()) return arrayOf(env, value.toIntVector(), [&](int64_t v) { return jsInt(env, v); });
  if (value.isDoubleList()) return arrayOf(env, value.toDoubleVector(), [&](double v) { return jsNumber(env, v); });
  if (value.isList()) {
    return arrayOf(env, value.toListRef(), [&](const c10::IValue& v) { return revert(env, v, Tag::Unsupported); });
  }
  throw JsError("NotSupportedError", "The operator returned a " + value.tagKind() + ", which has no JavaScript form.");
}

}  // namespace fabric
