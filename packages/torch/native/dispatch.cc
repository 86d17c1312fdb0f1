// The one call that binds every operator: packets of overloads resolved by name, the overload chosen by the arguments,
// and a boxed call through the engine's dispatcher.
#include <ATen/core/dispatch/Dispatcher.h>

#include <algorithm>
#include <array>
#include <memory>
#include <mutex>
#include <sstream>
#include <unordered_map>

#include "compat.h"
#include "convert.h"

namespace fabric {

struct OperandStack {
  torch::jit::Stack values;
};

namespace {

struct Overload {
  c10::OperatorHandle op;
  std::vector<ArgPlan> args;
  std::vector<Tag> returnTags;
  std::vector<int> aliasOf;  // for each result, the argument that it is, or -1
  size_t positional = 0;     // arguments that may be given by position
  bool hasOut = false;
  bool isFactory = false;  // makes a tensor from no tensor: takes the default device
  int deviceArg = -1;
};

struct Packet {
  std::string name;  // "aten::add"
  std::vector<Overload> overloads;
};

// Calls of a packet with the same named arguments.
struct CallSite {
  const Packet* packet;
  std::vector<std::string> names;
  // Where they go, for each overload: indices of arguments, -1 for an unknown name.
  std::vector<std::vector<int>> places;
};

// Most calls have few arguments: their bookkeeping stays on the stack.
using Arguments = c10::SmallVector<JsValue, 6>;

// The named arguments of a call: their values follow the positional ones.
struct Named {
  const CallSite* site = nullptr;
  const JsValue* values = nullptr;
  size_t size() const { return site ? site->names.size() : 0; }
};

// Grows and never moves: other threads read what they were given the number of without the lock.
template <typename T>
class Table {
 public:
  T& operator[](size_t id) const { return *blocks_.at(id / kBlock)[id % kBlock]; }
  uint32_t add(std::unique_ptr<T> item) {
    if (size_ % kBlock == 0) blocks_.at(size_ / kBlock) = std::make_unique<std::unique_ptr<T>[]>(kBlock);
    blocks_[size_ / kBlock][size_ % kBlock] = std::move(item);
    return size_++;
  }

 private:
  static constexpr size_t kBlock = 1024;
  std::array<std::unique_ptr<std::unique_ptr<T>[]>, 1024> blocks_;
  uint32_t size_ = 0;
};

// The operator table is shared by all environments of the process.
std::mutex tableMutex;
Table<Packet> packets;
std::unordered_map<std::string, uint32_t> packetIds;
Table<CallSite> callSites;
std::unordered_map<std::string, uint32_t> callSiteIds;  // by packet and names
c10::optional<at::Device> defaultDevice;

// ---- building packets ---------------------------------------------------------------------------------------

// PyTorch gives a number to `x + 1`, `x * 2` and their like as a tensor, never to the Scalar overload; `AddBackward0`
// in a printed tensor comes from there. Their tensors take numbers, and come before their overloads for Scalars.
bool isArithmetic(const std::string& name) {
  static const char* const kNames[] = {"aten::add", "aten::add_", "aten::sub", "aten::sub_",
                                       "aten::mul", "aten::mul_", "aten::div", "aten::div_"};
  return std::any_of(std::begin(kNames), std::end(kNames), [&](const char* known) { return name == known; });
}

// Overloads for named dimensions are left out: strings there would shadow dtypes and devices.
bool takesDimensionNames(const std::string& overload) {
  return overload.find("name") != std::string::npos || overload.find("imname") != std::string::npos;
}

int aliasedArgument(const c10::FunctionSchema& schema, const c10::Argument& result) {
  const auto* alias = result.alias_info();
  if (!alias || !alias->isWrite()) return -1;
  for (size_t i = 0; i < schema.arguments().size(); i++) {
    const auto* other = schema.arguments()[i].alias_info();
    if (other && other->isWrite() && other->beforeSets() == alias->beforeSets()) return static_cast<int>(i);
  }
  return -1;
}

Overload makeOverload(const c10::OperatorHandle& op) {
  Overload result{op, {}, {}, {}};
  const c10::FunctionSchema& schema = op.schema();
  bool takesTensor = false, takesDtype = false;
  for (const c10::Argument& argument : schema.arguments()) {
    ArgPlan plan;
    plan.name = argument.name();
    plan.camelName = camelCase(plan.name);
    plan.tag = tagOf(compat::declaredType(argument), &plan.optional);
    plan.keywordOnly = argument.kwarg_only();
    plan.hasDefault = argument.default_value().has_value();
    if (plan.hasDefault) plan.fallback = *argument.default_value();
    plan.isOut = argument.is_out();
    plan.fixedSize = argument.N().value_or(0);
    plan.schema = &argument;
    result.hasOut |= plan.isOut;
    takesTensor |= plan.tag == Tag::Tensor || plan.tag == Tag::TensorList;
    takesDtype |= plan.tag == Tag::Dtype;
    if (plan.tag == Tag::Device) result.deviceArg = static_cast<int>(result.args.size());
    if (!plan.keywordOnly) result.positional++;
    result.args.push_back(std::move(plan));
  }
  result.isFactory = !takesTensor && takesDtype && result.deviceArg >= 0;
  for (const c10::Argument& value : schema.returns()) {
    bool optional = false;
    result.returnTags.push_back(tagOf(compat::declaredType(value), &optional));
    result.aliasOf.push_back(aliasedArgument(schema, value));
  }
  return result;
}

std::unique_ptr<Packet> makePacket(const std::string& name, const std::string& overload) {
  auto packet = std::make_unique<Packet>();
  packet->name = name;
  auto& dispatcher = c10::Dispatcher::singleton();
  if (!overload.empty()) {
    auto op = dispatcher.findSchema({name, overload == "default" ? "" : overload});
    if (op) packet->overloads.push_back(makeOverload(*op));
    return packet;
  }
  const bool arithmetic = isArithmetic(name);
  for (const c10::OperatorName& known : dispatcher.getAllOpNames()) {
    if (known.name != name || takesDimensionNames(known.overload_name)) continue;
    auto op = dispatcher.findSchema(known);
    if (!op) continue;
    packet->overloads.push_back(makeOverload(*op));
    if (arithmetic) packet->overloads.back().args[1].takesNumber = true;
  }
  // The plain overload first, those with `out` last; otherwise by name, so that every engine chooses alike.
  std::sort(packet->overloads.begin(), packet->overloads.end(), [](const Overload& a, const Overload& b) {
    const auto& left = a.op.operator_name().overload_name;
    const auto& right = b.op.operator_name().overload_name;
    const auto tensorLast = [](const std::string& n) { return n.rfind("Scalar", 0) == 0; };
    return std::make_tuple(a.hasOut, !left.empty(), tensorLast(left), left) <
           std::make_tuple(b.hasOut, !right.empty(), tensorLast(right), right);
  });
  return packet;
}

// ---- choosing an overload -----------------------------------------------------------------------------------

using Slots = c10::SmallVector<const JsValue*, 12>;

int argumentNamed(const Overload& overload, const std::string& name) {
  for (size_t i = 0; i < overload.args.size(); i++) {
    if (overload.args[i].camelName == name || overload.args[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

std::unique_ptr<CallSite> makeCallSite(const Packet& packet, std::vector<std::string> names) {
  auto site = std::make_unique<CallSite>(CallSite{&packet, std::move(names), {}});
  for (const Overload& overload : packet.overloads) {
    site->places.emplace_back();
    for (const std::string& name : site->names) site->places.back().push_back(argumentNamed(overload, name));
  }
  return site;
}

// Fills `slots` with one value (or null for the default) an argument; false when the overload does not fit.
bool fill(napi_env env, const Packet& packet, size_t index, const Arguments& args, size_t positional,
          const Named& named, bool lenient, Slots* slots) {
  const Overload& overload = packet.overloads[index];
  if (positional > overload.positional) return false;
  slots->assign(overload.args.size(), nullptr);
  for (size_t i = 0; i < positional; i++) {
    if (args[i].kind != Js::Undefined) (*slots)[i] = &args[i];
  }
  for (size_t i = 0; i < named.size(); i++) {
    const int place = named.site->places[index][i];
    if (place < 0 || (*slots)[place]) return false;
    (*slots)[place] = &named.values[i];
  }
  for (size_t i = 0; i < slots->size(); i++) {
    const ArgPlan& plan = overload.args[i];
    const JsValue* value = (*slots)[i];
    if (!value ? !plan.hasDefault : !matches(env, plan, *value, lenient)) return false;
  }
  return true;
}

// `x.view(2, 3)` and `randn(2, 3)`: trailing numbers stand for the list that an overload takes there.
bool gatherNumbers(const Arguments& args, size_t positional, Arguments* gathered) {
  size_t first = 0;
  while (first < positional && args[first].kind != Js::Number) first++;
  if (first == positional || first > 1) return false;
  for (size_t i = first; i < positional; i++) {
    if (args[i].kind != Js::Number || !args[i].whole) return false;
  }
  const auto copy = [](const JsValue& from, JsValue* to) {  // of a number or a tensor: without items
    to->kind = from.kind;
    to->whole = from.whole;
    to->raw = from.raw;
    to->integer = from.integer;
    if (from.kind == Js::Number) {
      to->number = from.number;
    } else {
      to->object = from.object;
    }
  };
  if (first == 1) {
    if (args[0].kind != Js::Tensor) return false;
    gathered->emplace_back();
    copy(args[0], &gathered->back());
  }
  gathered->emplace_back();
  JsValue& list = gathered->back();
  list.kind = Js::Array;
  list.items.allocate(static_cast<uint32_t>(positional - first));
  for (size_t i = first; i < positional; i++) copy(args[i], &list.items[i - first]);
  return true;
}

std::string shortName(const Packet& packet) { return camelCase(packet.name.substr(packet.name.find("::") + 2)); }

std::string describeCall(napi_env env, const Packet& packet, const Arguments& args, size_t positional,
                         const Named& named) {
  std::string text = shortName(packet) + "(";
  for (size_t i = 0; i < positional; i++) text += (i ? ", " : "") + describe(env, args[i]);
  for (size_t i = 0; i < named.size(); i++) {
    text += (i ? ", " : positional == 0 ? "{ " : ", { ") + named.site->names[i] + ": " + describe(env, named.values[i]);
  }
  return text + (named.size() == 0 ? ")" : " })");
}

[[noreturn]] void throwNoMatch(napi_env env, const Packet& packet, const Arguments& args, size_t positional,
                               const Named& named) {
  std::string message;
  for (const JsValue& value : args) {
    if (value.kind == Js::Tensor) tensorOf(env, value.raw);  // a disposed tensor is the better error
  }
  const std::string call = describeCall(env, packet, args, positional, named);
  for (size_t i = 0; i < named.size() && message.empty(); i++) {
    const std::string& name = named.site->names[i];
    for (size_t o = 0; o < packet.overloads.size() && named.values[i].kind == Js::String; o++) {
      const int place = named.site->places[o][i];
      const Tag tag = place < 0 ? Tag::Unsupported : packet.overloads[o].args[place].tag;
      if (tag == Tag::Dtype) dtypeOf(env, named.values[i].raw, name.c_str());  // a wrong name is the better error
      if (tag == Tag::Device) deviceOf(env, named.values[i].raw, name.c_str());
    }
    const bool known = std::any_of(packet.overloads.begin(), packet.overloads.end(),
                                   [&](const Overload& o) { return argumentNamed(o, name) >= 0; });
    if (!known) message = "`" + shortName(packet) + "` has no argument named `" + name + "`: " + call + ".";
  }
  if (message.empty()) message = "No overload fits " + call + ".";
  std::string hint = "It takes:";
  int shown = 0;
  for (const Overload& overload : packet.overloads) {
    if (overload.hasOut && shown > 0) continue;
    std::ostringstream schema;
    schema << overload.op.schema();
    hint += "\n  " + schema.str();
    if (++shown == 6) break;
  }
  throw JsError("TypeError", message, hint);
}

// The overload that the arguments fit, with `slots` filled; `gathered` keeps a list that was made from trailing
// numbers.
const Overload& choose(napi_env env, const Packet& packet, const Arguments& args, size_t positional, const Named& named,
                       Arguments* gathered, Slots* slots) {
  const size_t count = packet.overloads.size();
  for (size_t i = 0; i < count; i++) {
    if (fill(env, packet, i, args, positional, named, false, slots)) return packet.overloads[i];
  }
  if (gatherNumbers(args, positional, gathered)) {
    const size_t last = gathered->size() - 1;
    for (size_t i = 0; i < count; i++) {
      const Overload& overload = packet.overloads[i];
      if (last < overload.args.size() && overload.args[last].tag == Tag::IntList &&
          fill(env, packet, i, *gathered, gathered->size(), named, false, slots)) {
        return overload;
      }
    }
  }
  for (size_t i = 0; i < count; i++) {
    if (fill(env, packet, i, args, positional, named, true, slots)) return packet.overloads[i];
  }
  throwNoMatch(env, packet, args, positional, named);
}

// ---- calling ------------------------------------------------------------------------------------------------

napi_value results(napi_env env, const Overload& overload, const Slots& slots, torch::jit::Stack& stack) {
  const size_t count = overload.returnTags.size();
  auto one = [&](size_t i) -> napi_value {
    const int alias = overload.aliasOf[i];
    if (alias >= 0 && slots[alias] && slots[alias]->kind == Js::Tensor) return slots[alias]->raw;
    return revert(env, stack[stack.size() - count + i], overload.returnTags[i]);
  };
  if (count == 0) return jsUndefined(env);
  if (count == 1) return one(0);
  napi_value array;
  check(napi_create_array_with_length(env, count, &array));
  for (size_t i = 0; i < count; i++) check(napi_set_element(env, array, i, one(i)));
  return array;
}

// The operand stack of the last call, kept for the next one: an operator may call back into JavaScript and from there
// another.
class BorrowedStack {
 public:
  explicit BorrowedStack(EnvData& data) : data_(data) {
    if (!data.spareStack) data.spareStack = std::make_shared<OperandStack>();
    std::swap(stack, data.spareStack->values);
  }
  ~BorrowedStack() {
    stack.clear();
    std::swap(stack, data_.spareStack->values);
  }
  torch::jit::Stack stack;

 private:
  EnvData& data_;
};

napi_value invoke(napi_env env, const Packet& packet, const Arguments& args, size_t positional, const Named& named) {
  Slots slots;
  Arguments gathered;
  const Overload& overload = choose(env, packet, args, positional, named, &gathered, &slots);
  BorrowedStack borrowed(envData(env));
  torch::jit::Stack& stack = borrowed.stack;
  for (size_t i = 0; i < slots.size(); i++) {
    if (slots[i]) {
      stack.push_back(convert(env, overload.args[i], *slots[i]));
    } else if (overload.isFactory && static_cast<int>(i) == overload.deviceArg && defaultDevice) {
      stack.emplace_back(*defaultDevice);
    } else {
      stack.push_back(overload.args[i].fallback);
    }
  }
  try {
    overload.op.callBoxed(&stack);
  } catch (const JsError&) {
    throw;
  } catch (const std::exception&) {
    const JsError error = describeException(std::current_exception());
    std::ostringstream schema;
    schema << overload.op.schema();
    throw JsError(error.kind,
                  std::string(error.what()) + "\n  in " + describeCall(env, packet, args, positional, named) +
                      "\n  of " + schema.str(),
                  error.hint, error.code);
  }
  return results(env, overload, slots, stack);
}

uint32_t idOf(napi_env env, napi_value id) {
  uint32_t index = 0;
  check(napi_get_value_uint32(env, id, &index));
  return index;
}

// ---- exports ------------------------------------------------------------------------------------------------

napi_value resolve(napi_env env, napi_callback_info info) {
  return guarded(env, "resolve", [&]() -> napi_value {
    Args<2> a(env, info);
    const std::string space = stringOf(env, a[0], "namespace"), full = stringOf(env, a[1], "name");
    const std::string key = space + "::" + full;
    const std::lock_guard<std::mutex> lock(tableMutex);
    auto known = packetIds.find(key);
    if (known == packetIds.end()) {
      const size_t dot = full.find('.');
      auto packet =
          makePacket(space + "::" + full.substr(0, dot), dot == std::string::npos ? "" : full.substr(dot + 1));
      if (packet->overloads.empty()) {
        throw JsError("NotSupportedError", "There is no operator \"" + key + "\" in LibTorch " TORCH_VERSION ".",
                      "Check its name, or use a LibTorch that has it (FABRIC_LIBTORCH=/path, then `npm run setup`).");
      }
      known = packetIds.emplace(key, packets.add(std::move(packet))).first;
    }
    return jsInt(env, known->second);
  });
}

napi_value hasOperator(napi_env env, napi_callback_info info) {
  return guarded(env, "hasOperator", [&]() -> napi_value {
    Args<2> a(env, info);
    const std::string full = stringOf(env, a[1], "name");
    const std::string name = stringOf(env, a[0], "namespace") + "::" + full.substr(0, full.find('.'));
    const size_t dot = full.find('.');
    auto& dispatcher = c10::Dispatcher::singleton();
    if (dot != std::string::npos) {
      const std::string overload = full.substr(dot + 1);
      return jsBool(env, dispatcher.findSchema({name, overload == "default" ? "" : overload}).has_value());
    }
    for (const c10::OperatorName& known : dispatcher.getAllOpNames()) {
      if (known.name == name && dispatcher.findSchema(known)) return jsBool(env, true);
    }
    return jsBool(env, false);
  });
}

// The values of a call behind its first one, looked at; returns that one, a number.
uint32_t takeArguments(napi_env env, napi_callback_info info, Arguments* args) {
  constexpr size_t kFew = 6, kMost = 32;
  napi_value values[kMost];
  // Node fills all places that it is given, so most calls give it few.
  size_t count = kFew;
  check(napi_get_cb_info(env, info, &count, values, nullptr, nullptr));
  if (count > kFew) {
    if (count > kMost) throw JsError("TypeError", "An operator takes at most 30 arguments.");
    check(napi_get_cb_info(env, info, &count, values, nullptr, nullptr));
  }
  for (size_t i = 1; i < count; i++) {
    args->emplace_back();
    classify(env, values[i], &args->back());
  }
  return idOf(env, values[0]);
}

// call(packet, ...positional)
napi_value call(napi_env env, napi_callback_info info) {
  return guarded(env, "call", [&]() -> napi_value {
    Arguments args;
    const uint32_t packet = takeArguments(env, info, &args);
    return invoke(env, packets[packet], args, args.size(), Named());
  });
}

// callSite(packet, names): a number for calls of the packet with these named arguments.
napi_value callSite(napi_env env, napi_callback_info info) {
  return guarded(env, "callSite", [&]() -> napi_value {
    Args<2> a(env, info);
    const uint32_t packet = idOf(env, a[0]);
    JsValue list;
    classify(env, a[1], &list);
    std::vector<std::string> names;
    std::string key = std::to_string(packet);
    for (const JsValue& name : list.items) {
      names.push_back(stringOf(env, name.raw));
      key += "," + names.back();
    }
    const std::lock_guard<std::mutex> lock(tableMutex);
    auto known = callSiteIds.find(key);
    if (known == callSiteIds.end()) {
      const uint32_t id = callSites.add(makeCallSite(packets[packet], std::move(names)));
      known = callSiteIds.emplace(key, id).first;
    }
    return jsInt(env, known->second);
  });
}

// callNamed(site, ...positional, ...values of the site's names)
napi_value callNamed(napi_env env, napi_callback_info info) {
  return guarded(env, "callNamed", [&]() -> napi_value {
    Arguments args;
    Named named;
    named.site = &callSites[takeArguments(env, info, &args)];
    const size_t positional = args.size() - named.size();
    named.values = args.data() + positional;
    return invoke(env, *named.site->packet, args, positional, named);
  });
}

// numberLists(memory, stride): values that stand for the lists of numbers in a Float64Array.
napi_value numberLists(napi_env env, napi_callback_info info) {
  return guarded(env, "numberLists", [&]() -> napi_value {
    Args<2> a(env, info);
    napi_typedarray_type type;
    size_t length = 0;
    void* memory = nullptr;
    check(napi_get_typedarray_info(env, a[0], &type, &length, &memory, nullptr, nullptr));
    napi_ref forEver;  // the lists point into it
    check(napi_create_reference(env, a[0], 1, &forEver));
    const uint32_t stride = idOf(env, a[1]), count = static_cast<uint32_t>(length) / stride;
    napi_value result;
    check(napi_create_array_with_length(env, count, &result));
    for (uint32_t i = 0; i < count; i++) {
      auto* list = new NumberList(static_cast<double*>(memory) + size_t{i} * stride);
      check(napi_set_element(env, result, i, makeExternal(env, list)));
    }
    return result;
  });
}

napi_value schemas(napi_env env, napi_callback_info) {
  return guarded(env, "schemas", [&]() -> napi_value {
    std::vector<std::string> lines;
    auto& dispatcher = c10::Dispatcher::singleton();
    for (const c10::OperatorName& name : dispatcher.getAllOpNames()) {
      auto op = dispatcher.findSchema(name);
      if (!op) continue;
      std::ostringstream text;
      text << op->schema();
      lines.push_back(text.str());
    }
    std::sort(lines.begin(), lines.end());
    napi_value result;
    check(napi_create_array_with_length(env, lines.size(), &result));
    for (uint32_t i = 0; i < lines.size(); i++) check(napi_set_element(env, result, i, jsString(env, lines[i])));
    return result;
  });
}

napi_value setDefaultDevice(napi_env env, napi_callback_info info) {
  return guarded(env, "setDefaultDevice", [&]() -> napi_value {
    Args<1> a(env, info);
    defaultDevice = isNullish(env, a[0]) ? c10::optional<at::Device>() : deviceOf(env, a[0]);
    return jsUndefined(env);
  });
}

}  // namespace

const std::vector<Export>& dispatchExports() {
  static const std::vector<Export> table = {{"resolve", resolve},   {"hasOperator", hasOperator},
                                            {"call", call},         {"callNamed", callNamed},
                                            {"callSite", callSite}, {"numberLists", numberLists},
                                            {"schemas", schemas},   {"setDefaultDevice", setDefaultDevice}};
  return table;
}

}  // namespace fabric
