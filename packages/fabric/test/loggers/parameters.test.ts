// What becomes of hyper-parameters before a logger writes them.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  AttributeDict,
  addPrefix,
  convertParams,
  flattenDict,
  jsonSerializable,
  maskSecrets,
  sanitizeCallableParams,
  sanitizeParams,
} from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn } from "@fabric-ts/torch";

class Settings {
  depth = 3;
  optimizer = { lr: 0.1 };
}

describe("convertParams", () => {
  it("makes a plain object of nothing, objects of classes, Maps and AttributeDicts", () => {
    assert.deepEqual(convertParams(null), {});
    assert.deepEqual(convertParams(undefined), {});
    assert.deepEqual(convertParams({ lr: 0.1 }), { lr: 0.1 });
    assert.deepEqual(convertParams(new Settings()), { depth: 3, optimizer: { lr: 0.1 } });
    assert.deepEqual(convertParams(new Map<unknown, unknown>([[1, "a"]])), { "1": "a" });
    assert.deepEqual(convertParams(new AttributeDict({ a: 1 })), { a: 1 });
  });

  it("says what to type in place of a number, a list or a date", () => {
    for (const wrong of [3, "lr", [1], new Date(0)]) {
      assert.throws(
        () => convertParams(wrong),
        /hyper-parameters to be an object[\s\S]*logHyperparams\(\{ lr: 0.1 \}\)/,
      );
    }
  });
});

describe("flattenDict", () => {
  it("joins the names of nested objects, Maps and objects of classes", () => {
    assert.deepEqual(flattenDict({ a: { b: { c: 1 } }, d: new Map([["e", 2]]), s: new Settings() }), {
      "a/b/c": 1,
      "d/e": 2,
      "s/depth": 3,
      "s/optimizer/lr": 0.1,
    });
    assert.deepEqual(flattenDict({ a: { b: 1 } }, "."), { "a.b": 1 });
  });

  it("opens arrays that hold objects only; the index becomes a part of the name", () => {
    const layers = [{ size: 1 }, { size: 2 }];
    assert.deepEqual(flattenDict({ layers, sizes: [1, 2], mixed: [1, { a: 2 }], none: [] }), {
      "layers/0/size": 1,
      "layers/1/size": 2,
      sizes: [1, 2],
      mixed: [1, { a: 2 }],
      none: [],
    });
  });

  it("makes texts of names that are none", () => {
    assert.deepEqual(flattenDict({ m: new Map<unknown, unknown>([[1, new Map([[true, "x"]])]]) }), { "m/1/true": "x" });
  });

  it("ends where an object contains itself", () => {
    const circle: Record<string, unknown> = { a: 1 };
    circle.self = circle;
    assert.deepEqual(flattenDict(circle), { a: 1, self: "[Circular]" });
  });

  it("takes a name like __proto__ for a name", () => {
    const flat = flattenDict(JSON.parse('{"a":1,"__proto__":{"polluted":true}}'));
    assert.deepEqual(Object.keys(flat), ["a", "__proto__/polluted"]);
    assert.equal(({} as { polluted?: boolean }).polluted, undefined);
  });
});

describe("sanitizeParams", () => {
  it("keeps numbers, texts, booleans and tensors, and makes texts of the rest", () => {
    const tensor = torch.ones([2]);
    assert.deepEqual(
      sanitizeParams({
        number: 1.5,
        text: "a",
        flag: true,
        tensor,
        big: 7n,
        huge: 2n ** 70n,
        none: null,
        list: [1, "a", null],
        layer: nn.ReLU,
        fn: function relu() {},
        day: new Date(0),
        model: new nn.Linear(1, 1),
      }),
      {
        number: 1.5,
        text: "a",
        flag: true,
        tensor,
        big: 7,
        huge: String(2n ** 70n),
        none: "null",
        list: '[1,"a",null]',
        layer: "ReLU",
        fn: "relu",
        day: "1970-01-01T00:00:00.000Z",
        model: "Linear",
      },
    );
  });
});

describe("sanitizeCallableParams", () => {
  it("calls functions without arguments; names classes, what fails and what returns functions", () => {
    const inner = (): number => 1;
    const params = sanitizeCallableParams({
      number: 1,
      called: () => "result",
      named: () => inner,
      nameless: () => () => 1,
      wrong: function needsArguments(): never {
        throw new Error("no arguments");
      },
      layer: nn.ReLU,
      later: async function later() {
        throw new Error("never seen");
      },
    });
    assert.deepEqual(params, {
      number: 1,
      called: "result",
      named: "inner",
      nameless: null,
      wrong: "needsArguments",
      layer: "ReLU",
      later: "later",
    });
  });
});

describe("jsonSerializable", () => {
  it("makes a text of everything that JSON has no form for", () => {
    const circle: Record<string, unknown> = { n: Number.NaN, i: -Infinity, big: 1n, f: nn.ReLU, s: new Set([1]) };
    circle.again = circle;
    const copy = jsonSerializable({ circle, map: new Map([["k", undefined]]), tensor: torch.tensor(2) });
    assert.deepEqual(JSON.parse(JSON.stringify(copy)), {
      circle: { n: "NaN", i: "-Infinity", big: "1", f: "ReLU", s: [1], again: "[Circular]" },
      map: { k: null },
      tensor: String(torch.tensor(2)),
    });
  });
});

describe("addPrefix", () => {
  it("puts a prefix before each name, and returns the same object without one", () => {
    const metrics = { loss: 1 };
    assert.deepEqual(addPrefix(metrics, "val", "-"), { "val-loss": 1 });
    assert.ok(addPrefix(metrics, "", "-") === metrics);
  });
});

describe("maskSecrets", () => {
  it("masks names that sound secret, in any spelling", () => {
    const secret = [
      "token",
      "HF_TOKEN",
      "apiToken",
      "secret",
      "clientSecret",
      "PASSWORD",
      "dbPassword",
      "key",
      "api_key",
      "apiKey",
    ];
    for (const name of secret) assert.deepEqual(maskSecrets({ [name]: "s3cret" }), { [name]: "***" }, name);
  });

  it("leaves alone what only looks like it", () => {
    const params = { keys: 3, keyboard: "de", tokenizer: "bpe", max_tokens: 512, useToken: true, token: null, lr: 0.1 };
    assert.deepEqual(maskSecrets(params), params);
  });

  it("masks numbers, objects and lists behind secret names", () => {
    assert.deepEqual(maskSecrets({ password: 1234, secrets: { a: "x" }, apiKey: ["x"] }), {
      password: "***",
      secrets: "***",
      apiKey: "***",
    });
  });

  it("looks into objects, lists, Maps, Sets and objects of classes, and changes none of them", () => {
    class Login {
      user = "u";
      password = "s3cret";
    }
    const params = {
      deep: [{ a: { apiKey: "s3cret" } }, 1],
      map: new Map([["token", "s3cret"]]),
      set: new Set([{ token: "s3cret" }]),
      login: new Login(),
    };
    const masked = maskSecrets(params);
    assert.doesNotMatch(JSON.stringify(jsonSerializable(masked)), /s3cret/);
    assert.equal(masked.login.user, "u");
    assert.equal(params.login.password, "s3cret");
    assert.ok(masked.login instanceof Login);
  });

  it("does not let a secret through by a circle", () => {
    const circle: Record<string, unknown> = { token: "s3cret" };
    circle.list = [circle];
    circle.map = new Map([["up", circle]]);
    assert.doesNotMatch(JSON.stringify(jsonSerializable(maskSecrets(circle))), /s3cret/);
    assert.doesNotMatch(JSON.stringify(jsonSerializable(flattenDict(maskSecrets(circle)))), /s3cret/);
  });

  it("masks passwords inside of addresses", () => {
    assert.deepEqual(maskSecrets({ db: "postgres://u:s3cret@host/db", url: new URL("https://u:s3cret@host/") }), {
      db: "postgres://u:***@host/db",
      url: "https://u:***@host/",
    });
  });

  it("follows a rule of the user's, or none", () => {
    assert.deepEqual(maskSecrets({ pin: 1, apiKey: "k" }, /^pin$/g), { pin: "***", apiKey: "k" });
    assert.deepEqual(maskSecrets({ pin: 1, pin2: 2 }, /^pin/g), { pin: "***", pin2: "***" });
    const params = { apiKey: "k" };
    assert.ok(maskSecrets(params, false) === params);
  });
});
