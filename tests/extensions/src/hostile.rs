//! Small files that expand to something enormous, one function per kind. Each takes a size, so that tests can stay below a limit or exceed it.

/// The first bytes of a component.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// The first bytes of a core module.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// Encodes an unsigned number in LEB128.
fn number(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Prefixes bytes with their length.
fn counted(bytes: &[u8]) -> Vec<u8> {
    [number(bytes.len()), bytes.to_vec()].concat()
}

fn section(id: u8, body: &[u8]) -> Vec<u8> {
    [vec![id], counted(body)].concat()
}

/// Encodes a section that is a list of `count` items.
fn list(id: u8, count: usize, items: &[u8]) -> Vec<u8> {
    section(id, &[number(count), items.to_vec()].concat())
}

fn component(sections: &[Vec<u8>]) -> Vec<u8> {
    [COMPONENT.to_vec(), sections.concat()].concat()
}

fn module(sections: &[Vec<u8>]) -> Vec<u8> {
    [MODULE.to_vec(), sections.concat()].concat()
}

/// A component that contains this core module and does not instantiate it.
pub fn with_module(module: &[u8]) -> Vec<u8> {
    component(&[section(1, module)])
}

/// A component that instantiates this core module, which imports nothing.
pub fn instantiating(module: &[u8]) -> Vec<u8> {
    component(&[section(1, module), list(2, 1, &[0, 0, 0])])
}

/// Instance types nested in each other to this depth.
pub fn nested_types(depth: usize) -> Vec<u8> {
    component(&[section(7, &[&[1][..], &[0x42, 1, 1].repeat(depth), &[0x42, 0]].concat())])
}

/// A chain of instance types: each has an alias of the type before it, and exports an instance of that type.
pub fn chained_types(length: usize) -> Vec<u8> {
    let mut types = vec![0x42, 0];
    for place in 0..length {
        // An alias of the outer type, and an export `a`: an instance of that type.
        types.extend([&[0x42, 2, 2, 3, 2, 1][..], &number(place), &[4, 0, 1, b'a', 5, 0]].concat());
    }
    component(&[list(7, length + 1, &types)])
}

/// Components nested in each other; each level instantiates its child `times` times.
pub fn instantiated(levels: usize, times: usize) -> Vec<u8> {
    let mut inner = component(&[]);
    for _ in 0..levels {
        inner = component(&[section(4, &inner), list(5, times, &[0, 0, 0].repeat(times))]);
    }
    inner
}

/// Components that each hold the one before twice, by aliases: each further component doubles what the last one holds.
pub fn closures(levels: usize) -> Vec<u8> {
    let holder = |of: usize| component(&[list(6, 2, &[&[4, 2, 1][..], &number(of)].concat().repeat(2))]);
    let holders = (0..levels).map(|level| section(4, &holder(level)));
    component(&std::iter::once(section(4, &component(&[]))).chain(holders).collect::<Vec<_>>())
}

/// Instances that each hold the one before twice.
pub fn held_instances(levels: usize) -> Vec<u8> {
    let mut instances = vec![1, 0];
    for level in 0..levels {
        let held = |name: u8| [&[0, 1, name, 5][..], &number(level)].concat();
        instances.extend([&[1, 2][..], &held(b'a'), &held(b'b')].concat());
    }
    component(&[list(5, levels + 1, &instances)])
}

/// A component with `count` copies of another one side by side, none of them instantiated.
pub fn copies(count: usize, inner: &[u8]) -> Vec<u8> {
    component(&vec![section(4, inner); count])
}

/// An empty component.
pub fn empty() -> Vec<u8> {
    component(&[])
}

/// A core module with `count` global variables.
pub fn globals(count: usize) -> Vec<u8> {
    with_module(&module(&[list(6, count, &[0x7f, 0, 0x41, 0, 0x0b].repeat(count))]))
}

/// A component that contains `inner` and imports the client's types, so that the host composes it with the client.
pub fn beside_the_client(inner: &[u8]) -> Vec<u8> {
    let import = [&[0][..], &counted(b"incluster:kubernetes/types@0.1.0"), &[5, 0]].concat();
    component(&[list(7, 1, &[0x42, 0]), list(10, 1, &import), section(4, inner)])
}

/// Empty components nested in each other to this depth.
pub fn nested_components(depth: usize) -> Vec<u8> {
    // From the innermost outwards: each length includes all components inside.
    let mut lengths = vec![COMPONENT.len()];
    for level in 0..depth {
        let inner = lengths[level];
        lengths.push(COMPONENT.len() + 1 + number(inner).len() + inner);
    }
    let mut bytes = COMPONENT.to_vec();
    for inner in lengths.iter().rev().skip(1) {
        bytes.push(4);
        bytes.extend(number(*inner));
        bytes.extend(COMPONENT);
    }
    bytes
}

/// A core module with `count` functions, each with these locals and this code.
fn functions(count: usize, body: &[u8]) -> Vec<u8> {
    with_module(&module(&[
        list(1, 1, &[0x60, 0, 0]),
        list(3, count, &[0].repeat(count)),
        list(10, count, &counted(body).repeat(count)),
    ]))
}

/// A core module with `count` empty functions.
pub fn empty_functions(count: usize) -> Vec<u8> {
    functions(count, &[0, 0x0b])
}

/// A core module with `count` functions, each with 50,000 local variables.
pub fn locals(count: usize) -> Vec<u8> {
    functions(count, &[&[1][..], &number(50_000), &[0x7e, 0x0b]].concat())
}

/// A function with blocks nested to this depth.
pub fn nested_blocks(depth: usize) -> Vec<u8> {
    functions(1, &[&[0][..], &[0x02, 0x40].repeat(depth), &[0x0b].repeat(depth + 1)].concat())
}

/// A function with `count` branches, each of which may jump back to the start of the loop: hard work for a compiler.
pub fn branches(count: usize) -> Vec<u8> {
    let body = [&[1, 4, 0x7f][..], &[0x03, 0x40], &branch().repeat(count), &[0x0b, 0x0b]].concat();
    functions(1, &body)
}

/// `local.get 0; if; local.get 1; local.get 2; i32.add; local.set 0; br 1; end; local.get 0; local.set 1`
fn branch() -> Vec<u8> {
    vec![0x20, 0, 0x04, 0x40, 0x20, 1, 0x20, 2, 0x6a, 0x21, 0, 0x0c, 1, 0x0b, 0x20, 0, 0x21, 1]
}

/// A component whose instance creates this many memories and tables.
pub fn made(memories: usize, tables: usize) -> Vec<u8> {
    let module = module(&[list(4, tables, &[0x70, 0, 1].repeat(tables)), list(5, memories, &[0, 1].repeat(memories))]);
    component(&[section(1, &module), list(2, 1, &[0, 0, 0])])
}

/// A function with one jump table of this many targets.
pub fn jump_table(targets: usize) -> Vec<u8> {
    let table = [number(targets), vec![0; targets + 1]].concat();
    functions(1, &[&[0, 0x41, 0, 0x0e][..], &table, &[0x0b]].concat())
}

/// A function with one jump table of `targets` targets that take `values` values each: validating it takes a step for each pair.
pub fn wide_jumps(targets: usize, values: usize) -> Vec<u8> {
    let table = [number(targets), vec![0; targets + 1]].concat();
    let body =
        [&[0, 0x02, 1][..], &[0x41, 0].repeat(values + 1), &[0x0e], &table, &[0x0b], &[0x1a].repeat(values), &[0x0b]].concat();
    let types = [&[0x60, 0, 0, 0x60, 0][..], &number(values), &[0x7f].repeat(values)].concat();
    instantiating(&module(&[list(1, 2, &types), list(3, 1, &[0]), list(10, 1, &counted(&body))]))
}

/// A core module with `count` tables of a million elements, each with its last element set.
pub fn tables(count: usize) -> Vec<u8> {
    let table = [&[0x70, 0][..], &number(1 << 20)].concat();
    let element = |table: usize| [&[2][..], &number(table), &[0x41], &signed((1 << 20) - 1), &[0x0b, 0, 1, 0]].concat();
    with_module(&module(&[
        list(1, 1, &[0x60, 0, 0]),
        list(3, 1, &[0]),
        list(4, count, &table.repeat(count)),
        list(9, count, &(0..count).flat_map(element).collect::<Vec<_>>()),
        list(10, 1, &counted(&[0, 0x0b])),
    ]))
}

/// A core module with `count` memories, each with a byte at the end of its first MiB.
pub fn memories(count: usize) -> Vec<u8> {
    let data = |memory: usize| [&[2][..], &number(memory), &[0x41], &signed((1 << 20) - 1), &[0x0b, 1, 1]].concat();
    with_module(&module(&[
        list(5, count, &[0, 16].repeat(count)),
        list(11, count, &(0..count).flat_map(data).collect::<Vec<_>>()),
    ]))
}

/// A component that instantiates a core module with a passive segment of `elements` elements `instances` times: each instance has a copy.
pub fn passive_elements(elements: usize, instances: usize) -> Vec<u8> {
    let segment = [vec![1, 0], number(elements), vec![0; elements]].concat();
    let module = module(&[list(1, 1, &[0x60, 0, 0]), list(3, 1, &[0]), list(9, 1, &segment), list(10, 1, &counted(&[0, 0x0b]))]);
    component(&[section(1, &module), list(2, instances, &[0, 0, 0].repeat(instances))])
}

/// An instance type with this many declarations of two bytes each.
pub fn large_type(declarations: usize) -> Vec<u8> {
    component(&[list(7, 1, &[vec![0x42], number(declarations), [1, 0x7f].repeat(declarations)].concat())])
}

/// Encodes a signed number, which must not be negative, in LEB128.
fn signed(value: usize) -> Vec<u8> {
    let mut bytes = number(value);
    if let Some(last) = bytes.last_mut().filter(|last| **last & 0x40 != 0) {
        *last |= 0x80;
        bytes.push(0);
    }
    bytes
}

/// A component with `count` core modules.
pub fn core_modules(count: usize) -> Vec<u8> {
    component(&vec![section(1, &module(&[])); count])
}

/// A core module with `count` imports of this name.
pub fn core_imports(count: usize, name: &str) -> Vec<u8> {
    let import = [counted(name.as_bytes()), counted(b""), vec![0, 0]].concat();
    with_module(&module(&[list(1, 1, &[0x60, 0, 0]), list(2, count, &import.repeat(count))]))
}

/// A component with `count` imports of interfaces that nothing provides.
pub fn imports(count: usize) -> Vec<u8> {
    let import = |place: usize| [&[0][..], &counted(format!("a:b/c{place}").as_bytes()), &[5, 0]].concat();
    component(&[list(7, 1, &[0x42, 0]), list(10, count, &(0..count).flat_map(import).collect::<Vec<_>>())])
}

/// A component that exports one instance `count` times.
pub fn exports(count: usize) -> Vec<u8> {
    let export = |place: usize| [&[0][..], &counted(format!("e{place}").as_bytes()), &[5, 0, 0]].concat();
    component(&[list(5, 1, &[1, 0]), list(11, count, &(0..count).flat_map(export).collect::<Vec<_>>())])
}

/// A component with `types` record types of `fields` fields each.
pub fn fields(fields: usize, types: usize) -> Vec<u8> {
    let field = |place: usize| [counted(format!("f{place}").as_bytes()), vec![0x79]].concat();
    let record = [&[0x72][..], &number(fields), &(0..fields).flat_map(field).collect::<Vec<_>>()].concat();
    component(&[list(7, types, &record.repeat(types))])
}

/// A component with `count` core functions that drop a resource.
pub fn canonical_functions(count: usize) -> Vec<u8> {
    component(&[list(7, 1, &[0x3f, 0x7f, 0]), list(8, count, &[3, 0].repeat(count))])
}

/// Record types that double in size: each has two fields of the type before it.
pub fn doubled_types(times: usize) -> Vec<u8> {
    let mut types = vec![0x72, 1, 1, b'a', 0x79];
    for place in 0..times {
        types.extend([&[0x72, 2, 1, b'a'][..], &number(place), &[1, b'b'], &number(place)].concat());
    }
    component(&[list(7, times + 1, &types)])
}

/// A component that imports another component and instantiates it.
pub fn imported_component() -> Vec<u8> {
    component(&[list(7, 1, &[0x41, 0]), list(10, 1, &[0, 1, b'c', 4, 0]), list(5, 1, &[0, 0, 0])])
}

/// A component whose export `trap` traps after `depth` nested calls of a function of this name.
pub fn deep_trap(name: &str, depth: u32) -> String {
    format!(
        r#"(component (core module $m
             (func $f (@name "{name}") (param i32)
               (if (i32.eqz (local.get 0)) (then unreachable))
               (call $f (i32.sub (local.get 0) (i32.const 1))))
             (func (export "trap") (call $f (i32.const {depth}))))
           (core instance $i (instantiate $m))
           (func (export "trap") (canon lift (core func $i "trap"))))"#
    )
}
