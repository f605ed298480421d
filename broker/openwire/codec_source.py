"""Writes the source text of a codec: two straight-line functions for every type of one version and encoding.

A codec's module defines, for every type with a code, ``encode_<Type>`` and ``decode_<Type>``, and the tables
``ENCODERS`` (by class) and ``DECODERS`` (by type byte). Where a field may hold several types,
``ENCODE_<Type>`` and ``DECODE_<Type>`` are the same tables cut down to those types, so a structure of a wrong
kind is never read.

Loose, encoding: ``encode(o, w, r)`` gives the parts of structure ``o``, its type byte first, to ``w``.
Tight, encoding: ``encode(o, w, f, r)`` gives the parts without the type byte to ``w``, the flags to ``f``.
Decoding: ``decode(b, p, d, r)`` reads the body of a structure from ``b`` at ``p``, which is the position
behind the type byte, and returns it with the position behind it.
``d`` is the depth of nesting and ``r`` the :class:`~broker.openwire.codec.Codec`, for its caches and options.

Fields of fixed size that follow each other are packed and unpacked by one ``struct`` call; in loose encoding
the presence flag of the optional field behind them goes along. Ids and destinations, which come again with
every message, are looked up by their bytes before they are read.
"""

from __future__ import annotations

from broker.openwire.schema import BY_NAME, TYPES, Field, Kind, Type, all_fields, concrete, wire_fields

_FORMATS = {Kind.BOOL: "?", Kind.BYTE: "b", Kind.INT: "i", Kind.LONG: "q", Kind.MAGIC: "8s"}
_DEFAULTS = {Kind.BOOL: "False", Kind.BYTE: "0", Kind.INT: "0", Kind.LONG: "0", Kind.MAGIC: "b''"}
_SIZES = {"?": 1, "b": 1, "B": 1, "h": 2, "i": 4, "q": 8, "8s": 8}


def codec_source(version: int, *, tight: bool, cache: bool) -> str:
    """The text of the module for one version, encoding, and use of the cache."""
    module = _Module()
    known = [each for each in TYPES if each.code is not None and each.since <= version]
    encoder, decoder = (_TightEncoder, _TightDecoder) if tight else (_LooseEncoder, _LooseDecoder)
    parts = []
    for each in known:
        parts.append(encoder(module, each, version, cache=cache).source())
        parts.append(decoder(module, each, version, cache=cache).source())
    tables = [_table("ENCODERS", "DECODERS", known)]
    for holds in sorted(module.held):
        tables.append(_table(f"ENCODE_{holds}", f"DECODE_{holds}", concrete(holds, version)))
    return "\n".join([*module.structs(), "", *parts, *tables])


def _table(encoders: str, decoders: str, types: list[Type] | tuple[Type, ...]) -> str:
    by_class = ", ".join(f"{each.name}: encode_{each.name}" for each in types)
    by_code = ", ".join(f"{each.code}: decode_{each.name}" for each in types)
    return f"{encoders} = {{{by_class}}}\n{decoders} = {{{by_code}}}\n"


class _Module:
    """What the functions of one module share: struct formats and the tables of types they need."""

    def __init__(self) -> None:
        self.formats: dict[str, str] = {}
        self.held: set[str] = set()

    def struct(self, formats: list[str]) -> str:
        """The name of the struct for some format characters."""
        return self.formats.setdefault(">" + "".join(formats), f"{len(self.formats)}")

    def structs(self) -> list[str]:
        """The lines that define them."""
        return [
            f"P{name} = Struct({text!r}).pack; U{name} = Struct({text!r}).unpack_from"
            for text, name in self.formats.items()
        ]


class _Function:
    """Gathers the lines of one function, and the run of fixed-size values not yet packed or unpacked."""

    def __init__(self, module: _Module, each: Type, version: int, *, cache: bool) -> None:
        self.module = module
        self.type = each
        self.version = version
        self.cache = cache
        self.lines: list[str] = []
        self.run: list[tuple[str, str]] = []

    def emit(self, text: str, depth: int = 1) -> None:
        """Adds some lines at a depth of indentation."""
        self.lines += ["    " * depth + line for line in text.splitlines()]

    def fields(self) -> tuple[Field, ...]:
        """The fields this version writes."""
        return wire_fields(self.type, self.version)

    def flush(self) -> None:
        """Emits the run."""
        raise NotImplementedError

    def field(self, field: Field) -> None:
        """Emits one field."""
        raise NotImplementedError

    def body(self) -> str:
        """The function's lines after its head."""
        for each in self.fields():
            if each.holds is not None:
                self.module.held.add(each.holds)
            self.field(each)
        self.flush()
        return "\n".join(self.lines)


def _is_recursive(each: Type) -> bool:
    """Whether a structure of this type can lead to another one of its kind."""
    seen: set[str] = set()
    todo = [each.name]
    while todo:
        for held in (field.holds for field in all_fields(BY_NAME[todo.pop()])):
            for found in concrete(held, 12) if held else ():
                if found.name == each.name:
                    return True
                if found.name not in seen:
                    seen.add(found.name)
                    todo.append(found.name)
    return False


class _LooseEncoder(_Function):
    def source(self) -> str:
        self.run.append(("B", str(self.type.code)))
        return f"def encode_{self.type.name}(o, w, r):\n{self.body()}\n"

    def flush(self) -> None:
        if self.run:
            values = ", ".join(value for _, value in self.run)
            self.emit(f"w(P{self.module.struct([code for code, _ in self.run])}({values}))")
            self.run = []

    def field(self, field: Field) -> None:
        value = f"o.{field.name}"
        if field.kind in _FORMATS:
            self.run.append((_FORMATS[field.kind], value))
            return
        if field.kind is Kind.CACHED and self.cache:
            self.flush()
            self.emit(
                f"x = {value}\n"
                "i = r.sent.index(x)\n"
                "if i is None:\n"
                f"    w(NEW_PRESENT(True, r.sent.add(x), x is not None))\n"
                f"    if x is not None: ENCODE_{field.holds}[x.__class__](x, w, r)\n"
                "else:\n"
                "    w(NEW(False, i))"
            )
            return
        self.emit(f"x = {value}")
        alone = not self.run
        if not alone:
            self.run.append(("?", "x is not None"))
            self.flush()
        write = {
            Kind.STRING: "w(loose_string(x))",
            Kind.BYTES: "w(LENGTH(len(x))); w(x)",
            Kind.NESTED: f"ENCODE_{field.holds}[x.__class__](x, w, r)",
            Kind.CACHED: f"ENCODE_{field.holds}[x.__class__](x, w, r)",
            Kind.ARRAY: f"encode_loose_array(x, w, r, ENCODE_{field.holds})",
            Kind.THROWABLE: "encode_loose_throwable(x, w, r)",
        }[field.kind]
        if alone:
            self.emit(f"if x is None: w(ABSENT)\nelse: w(PRESENT); {write}")
        else:
            self.emit(f"if x is not None: {write}")


class _LooseDecoder(_Function):
    def source(self) -> str:
        if _is_recursive(self.type):
            self.emit("if d > NESTING_DEPTH_MAX: too_deep()")
        names = {field.name for field in self.fields()}
        body = self.body()
        arguments = ", ".join(
            f"v_{field.name}" if field.name in names else _DEFAULTS.get(field.kind, "None")
            for field in all_fields(self.type)
        )
        name = self.type.name
        head, made = f"def decode_{name}(b, p, d, r):\n", f"{name}({arguments})"
        if not self.is_remembered():
            return f"{head}{body}\n    return {made}, p\n"
        longs = 8 * (len(self.fields()) - 1)
        return (
            f"{head}"
            "    e = s = p - 1\n"
            "    if b[p]:\n"
            f"        e = p + {3 + longs} + (b[p + 1] << 8 | b[p + 2])\n"
            "        known = KNOWN.get(b[s:e])\n"
            "        if known is not None: return known, e\n"
            "    q = e\n"
            f"{body}\n"
            f"    made = {made}\n"
            "    if p == q: KNOWN.put(b[s:p], made)\n"
            "    return made, p\n"
        )

    def is_remembered(self) -> bool:
        """Whether it is an id or a destination: a name, perhaps with numbers, whose bytes tell their end."""
        kinds = [field.kind for field in self.fields()]
        return self.type.is_value and kinds[:1] == [Kind.STRING] and set(kinds[1:]) <= {Kind.LONG}

    def flush(self) -> None:
        if not self.run:
            return
        codes = [code for code, _ in self.run]
        names = "".join(f"{name}, " for _, name in self.run)
        if codes == ["?"] and names == "has, ":
            self.emit("has = b[p]\np += 1")
        else:
            size = sum(_SIZES[code] for code in codes)
            self.emit(f"{names}= U{self.module.struct(codes)}(b, p)\np += {size}")
        self.run = []

    def field(self, field: Field) -> None:
        name = f"v_{field.name}"
        if field.kind in _FORMATS:
            self.run.append((_FORMATS[field.kind], name))
            return
        if field.kind is Kind.CACHED and self.cache:
            self.run += [("?", "has"), ("h", "i")]
            self.flush()
            self.emit(
                "if has:\n"
                "    if b[p]:\n"
                f"        {name}, p = DECODE_{field.holds}[b[p + 1]](b, p + 2, d + 1, r)\n"
                "    else:\n"
                f"        {name} = None\n"
                "        p += 1\n"
                f"    r.received.store(i, {name})\n"
                "else:\n"
                f"    {name} = r.received.load(i, {field.holds})"
            )
            return
        self.run.append(("?", "has"))
        self.flush()
        read = {
            Kind.STRING: (
                "e = p + 2 + (b[p] << 8 | b[p + 1])\n"
                "x = b[p + 2:e]\n"
                f"{name} = x.decode('ascii') if x.isascii() else text(x)\n"
                "p = e"
            ),
            Kind.BYTES: f"e = p + 4 + LENGTH_AT(b, p)[0]\n{name} = b[p + 4:e]\np = e",
            Kind.NESTED: f"{name}, p = DECODE_{field.holds}[b[p]](b, p + 1, d + 1, r)",
            Kind.CACHED: f"{name}, p = DECODE_{field.holds}[b[p]](b, p + 1, d + 1, r)",
            Kind.ARRAY: f"{name}, p = decode_loose_array(b, p, d, r, DECODE_{field.holds})",
            Kind.THROWABLE: f"{name}, p = decode_loose_throwable(b, p, r)",
        }[field.kind]
        self.emit("if has:")
        self.emit(read, 2)
        self.emit(f"else:\n    {name} = None")


class _TightEncoder(_Function):
    def source(self) -> str:
        return f"def encode_{self.type.name}(o, w, f, r):\n{self.body() or '    pass'}\n"

    def flush(self) -> None:
        if self.run:
            values = ", ".join(value for _, value in self.run)
            self.emit(f"w(P{self.module.struct([code for code, _ in self.run])}({values}))")
            self.run = []

    def field(self, field: Field) -> None:
        value = f"o.{field.name}"
        if field.kind is Kind.BOOL:
            self.emit(f"f({value})")
            return
        if field.kind in _FORMATS and field.kind is not Kind.LONG:
            self.run.append((_FORMATS[field.kind], value))
            return
        self.flush()
        self.emit(f"x = {value}")
        if field.kind is Kind.CACHED and self.cache:
            self.emit(
                "i = r.sent.index(x)\n"
                "f(i is None)\n"
                "if i is None:\n"
                "    w(INDEX(r.sent.add(x)))\n"
                "    f(x is not None)\n"
                f"    if x is not None: encode_tight_nested(x, w, f, r, ENCODE_{field.holds})\n"
                "else:\n"
                "    w(INDEX(i))"
            )
            return
        nested = f"f(x is not None)\nif x is not None: encode_tight_nested(x, w, f, r, ENCODE_{field.holds})"
        self.emit(
            {
                Kind.LONG: "if x: encode_tight_long(x, w, f)\nelse: f(False); f(False)",
                Kind.STRING: "if x is None: f(False)\nelse: encode_tight_string(x, w, f)",
                Kind.BYTES: "f(x is not None)\nif x is not None: w(LENGTH(len(x))); w(x)",
                Kind.NESTED: nested,
                Kind.CACHED: nested,
                Kind.ARRAY: (
                    "f(x is not None)\n"
                    f"if x is not None: encode_tight_array(x, w, f, r, ENCODE_{field.holds})"
                ),
                Kind.THROWABLE: "encode_tight_throwable(x, w, f, r)",
            }[field.kind]
        )


class _TightDecoder(_LooseDecoder):
    def source(self) -> str:
        self.emit("f = r.next_flag")
        return super().source()

    def is_remembered(self) -> bool:
        return False

    def field(self, field: Field) -> None:
        name = f"v_{field.name}"
        if field.kind is Kind.BOOL:
            self.emit(f"{name} = f()")
            return
        if field.kind in _FORMATS and field.kind is not Kind.LONG:
            self.run.append((_FORMATS[field.kind], name))
            return
        self.flush()
        if field.kind is Kind.CACHED and self.cache:
            self.emit(
                "has = f()\n"
                "i = INDEX_AT(b, p)[0]\n"
                "p += 2\n"
                "if has:\n"
                f"    {name}, p = decode_tight_nested(b, p, d, r, DECODE_{field.holds})\n"
                f"    r.received.store(i, {name})\n"
                "else:\n"
                f"    {name} = r.received.load(i, {field.holds})"
            )
            return
        nested = f"{name}, p = decode_tight_nested(b, p, d, r, DECODE_{field.holds})"
        self.emit(
            {
                Kind.LONG: f"{name}, p = decode_tight_long(b, p, f)",
                Kind.STRING: f"if f(): {name}, p = decode_tight_string(b, p, f)\nelse: {name} = None",
                Kind.BYTES: (
                    f"if f():\n    e = p + 4 + LENGTH_AT(b, p)[0]\n    {name} = b[p + 4:e]\n    p = e\n"
                    f"else:\n    {name} = None"
                ),
                Kind.NESTED: nested,
                Kind.CACHED: nested,
                Kind.ARRAY: f"{name}, p = decode_tight_array(b, p, d, r, DECODE_{field.holds})",
                Kind.THROWABLE: f"{name}, p = decode_tight_throwable(b, p, r)",
            }[field.kind]
        )
