//! Counts what a component consists of, before anything else reads it.
//!
//! The bytes are untrusted. Each part is counted against [`LoadLimits`] and only then validated, so that a small file that
//! describes something enormous is refused while it is still small. What an instantiation makes is counted along nesting: a
//! component in a component counts as often as it is instantiated. If that cannot be known, the file is refused.

#[cfg(test)]
#[path = "count/tests.rs"]
mod tests;
// The fuzz targets include this file, and without the paths would look for these modules elsewhere.
#[path = "count/aliases.rs"]
mod aliases;
#[path = "count/frame.rs"]
mod frame;
#[path = "count/types.rs"]
mod types;

use super::inventory::{Import, Inventory};
use crate::extension_error::ExtensionError;
use crate::load_limits::{LoadLimit, LoadLimits, PARSERS_NESTING};
use frame::{Component, Frame, Unknown, Weight};
use incluster_core::text;
use wasmparser::{
    BinaryReaderError, ComponentExternalKind as Kind, ComponentInstance, ElementItems, FuncValidatorAllocations, FunctionBody,
    Instance, Parser, Payload, ValidPayload, Validator, WasmFeatures,
};

/// The features that [`crate::sandbox::compile::configuration`] permits: WebAssembly 3.0 without those that need a garbage collector or threads.
const FEATURES: WasmFeatures = WasmFeatures::WASM3
    .union(WasmFeatures::COMPONENT_MODEL)
    .difference(WasmFeatures::GC)
    .difference(WasmFeatures::GC_TYPES)
    .difference(WasmFeatures::EXCEPTIONS)
    .difference(WasmFeatures::THREADS);

/// Counts and validates a component. What was found is in `found`, even if the component is refused.
pub(crate) fn count(bytes: &[u8], limits: &LoadLimits, found: &mut Inventory) -> Result<(), ExtensionError> {
    walk(bytes, limits, found).map_err(|error| match error {
        // The parser has its own limit, above any that `LoadLimits` may set, and recurses before a type can be counted.
        Stop::Malformed(error) if TOO_DEEP.contains(&error.message()) => {
            ExtensionError::OverLimit { limit: LoadLimit::Nesting, value: limits.nesting, found: PARSERS_NESTING + 1 }
        }
        Stop::Malformed(error) => ExtensionError::Malformed(text::error(&error)),
        Stop::Refused(error) => error,
    })
}

/// The parser's errors for nesting: of types in types, and of types with other types as parts.
const TOO_DEEP: [&str; 2] = ["component type nesting is too deep", "type nesting is too deep"];

/// Why the walk ended before the bytes did.
enum Stop {
    Malformed(BinaryReaderError),
    Refused(ExtensionError),
}

fn walk(bytes: &[u8], limits: &LoadLimits, found: &mut Inventory) -> Result<(), Stop> {
    let mut counter = Counter { limits, found, defined: Weight::default(), code: 0, frames: Vec::new() };
    counter.at_least(LoadLimit::Bytes, bytes.len() as u64)?;
    if !bytes.starts_with(b"\0asm") {
        return Err(Stop::Refused(ExtensionError::NotAComponent));
    }
    // The version field of a core module is 1; a component's also has a layer.
    if bytes.starts_with(b"\0asm\x01\0\0\0") {
        return Err(Stop::Refused(ExtensionError::CoreModule));
    }
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    let mut validator = Validator::new_with_features(FEATURES);
    let mut allocations = FuncValidatorAllocations::default();
    for payload in parser.parse_all(bytes) {
        let payload = payload?;
        counter.payload(&payload)?;
        if let ValidPayload::Func(function, body) = validator.payload(&payload)? {
            let mut function = function.into_validator(allocations);
            let mut reader = body.get_binary_reader();
            function.read_locals(&mut reader)?;
            reader.set_features(FEATURES);
            while !reader.eof() {
                reader.visit_operator(&mut function.visitor(reader.original_position()))??;
                counter.at_least(LoadLimit::BlockNesting, function.control_stack_height().into())?;
            }
            reader.finish_expression(&function.visitor(reader.original_position()))?;
            allocations = function.into_allocations();
        }
    }
    Ok(())
}

struct Counter<'a> {
    limits: &'a LoadLimits,
    found: &'a mut Inventory,
    /// Everything that is defined, counted once, whether or not it is instantiated.
    defined: Weight,
    /// The functions with code. Canonical functions are counted apart, as often as they are instantiated.
    code: u64,
    /// The outermost component, and what is being read in it.
    frames: Vec<Frame>,
}

impl Counter<'_> {
    /// Adds to what was found of a limit.
    fn more(&mut self, limit: LoadLimit, count: u64) -> Result<(), Stop> {
        let all = self.found.counts[limit as usize].saturating_add(count);
        self.at_least(limit, all)
    }

    /// Raises what was found of a limit to this, if it is less.
    fn at_least(&mut self, limit: LoadLimit, count: u64) -> Result<(), Stop> {
        let found = &mut self.found.counts[limit as usize];
        *found = count.max(*found);
        Ok(limit.check(self.limits, *found)?)
    }

    fn name(&mut self, name: &str) -> Result<(), Stop> {
        self.at_least(LoadLimit::NameBytes, name.len() as u64)
    }

    fn frame(&mut self) -> &mut Frame {
        if self.frames.is_empty() {
            // The file is malformed: the validator will say so.
            self.frames.push(Frame::default());
        }
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    fn is_outermost(&self) -> bool {
        self.frames.len() == 1
    }

    /// Counts a definition of the current component or core module, which is worked through at each instantiation.
    fn define(&mut self, more: Weight) -> Result<(), Stop> {
        self.defined.add(more);
        self.check(self.defined)?;
        self.nest(more)
    }

    /// Counts this many more definitions.
    fn define_items(&mut self, definitions: u64) -> Result<(), Stop> {
        self.define(Weight { definitions, ..Weight::default() })
    }

    /// Counts what is defined elsewhere, but worked through at each instantiation of the current component.
    fn nest(&mut self, more: Weight) -> Result<(), Stop> {
        self.frame().this.weight.add(more);
        self.check(self.frames.last().map(|frame| frame.this.weight).unwrap_or_default())
    }

    fn check(&mut self, weight: Weight) -> Result<(), Stop> {
        let Weight { instances, definitions, functions, memories, tables, instance_items } = weight;
        self.at_least(LoadLimit::Instances, instances)?;
        self.at_least(LoadLimit::Definitions, definitions)?;
        self.at_least(LoadLimit::Functions, self.code.saturating_add(functions))?;
        self.at_least(LoadLimit::InstanceItems, instance_items)?;
        self.at_least(LoadLimit::Memories, memories)?;
        self.at_least(LoadLimit::Tables, tables)
    }

    fn payload(&mut self, payload: &Payload<'_>) -> Result<(), Stop> {
        match payload {
            Payload::Version { encoding, .. } => {
                self.frames.push(Frame { is_module: *encoding == wasmparser::Encoding::Module, ..Frame::default() });
                // The outermost component is not nested.
                self.at_least(LoadLimit::Nesting, self.frames.len() as u64 - 1)
            }
            Payload::End(_) => self.end(),
            Payload::CustomSection(section) => {
                self.found.producers(section);
                Ok(())
            }

            Payload::ModuleSection { .. } => self.more(LoadLimit::CoreModules, 1),
            Payload::TypeSection(section) => {
                self.type_bytes(section.range())?;
                for group in section.clone() {
                    self.rec_group(&group?)?;
                }
                Ok(())
            }
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    let import = import?;
                    self.more(LoadLimit::Imports, 1)?;
                    self.define(Weight { instance_items: 1, ..Weight::default() })?;
                    self.name(import.module)?;
                    self.name(import.name)?;
                }
                Ok(())
            }
            Payload::ExportSection(section) => {
                for export in section.clone() {
                    self.more(LoadLimit::Exports, 1)?;
                    self.name(export?.name)?;
                }
                Ok(())
            }
            Payload::FunctionSection(section) => {
                self.code = self.code.saturating_add(section.count().into());
                self.define(Weight { instance_items: section.count().into(), ..Weight::default() })
            }
            Payload::ElementSection(section) => {
                for element in section.clone() {
                    let elements = match element?.items {
                        ElementItems::Functions(functions) => functions.count(),
                        ElementItems::Expressions(_, expressions) => expressions.count(),
                    };
                    self.define(Weight { instance_items: elements.into(), ..Weight::default() })?;
                }
                Ok(())
            }
            Payload::TableSection(section) => {
                for table in section.clone() {
                    self.at_least(LoadLimit::TableElements, table?.ty.initial)?;
                }
                self.define(Weight { tables: section.count().into(), ..Weight::default() })
            }
            Payload::MemorySection(section) => self.define(Weight { memories: section.count().into(), ..Weight::default() }),
            Payload::GlobalSection(section) => {
                self.more(LoadLimit::Globals, section.count().into())?;
                self.define(Weight { instance_items: section.count().into(), ..Weight::default() })
            }
            Payload::CodeSectionEntry(body) => self.code(body),

            Payload::InstanceSection(section) => {
                section.clone().into_iter().try_for_each(|instance| self.core_instance(instance?))
            }
            Payload::ComponentInstanceSection(section) => {
                section.clone().into_iter().try_for_each(|instance| self.instance(instance?))
            }
            Payload::CoreTypeSection(section) => {
                self.type_bytes(section.range())?;
                section.clone().into_iter().try_for_each(|ty| self.core_type(&ty?))
            }
            Payload::ComponentTypeSection(section) => {
                self.type_bytes(section.range())?;
                section.clone().into_iter().try_for_each(|ty| self.component_type(&ty?, self.frames.len() as u64))
            }
            Payload::ComponentAliasSection(section) => section.clone().into_iter().try_for_each(|alias| self.alias(alias?)),
            Payload::ComponentCanonicalSection(section) => {
                let functions = section.count().into();
                self.define(Weight { definitions: functions, functions, ..Weight::default() })
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    let import = import?;
                    self.more(LoadLimit::Imports, 1)?;
                    self.define_items(1)?;
                    self.name(import.name.name)?;
                    let kind = import.ty.kind();
                    self.item(kind, "an import", 1);
                    if self.is_outermost() {
                        let name = import.name.full_name().into_owned();
                        self.found.imports.push(Import { name, is_instance: kind == Kind::Instance });
                    }
                }
                Ok(())
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    let export = export?;
                    self.more(LoadLimit::Exports, 1)?;
                    self.name(export.name.name)?;
                    self.export(export.kind, export.index)?;
                    if self.is_outermost() {
                        self.found.exports.push(export.name.full_name().into_owned());
                    }
                }
                Ok(())
            }
            // The other payloads are no larger than their bytes.
            _ => Ok(()),
        }
    }

    fn end(&mut self) -> Result<(), Stop> {
        let Some(Frame { is_module, this, .. }) = self.frames.pop() else { return Ok(()) };
        let Some(parent) = self.frames.last_mut() else { return Ok(()) };
        if is_module {
            parent.modules.push(Ok(this.weight));
        } else {
            parent.components.push(Ok(this));
        }
        self.define_items(this.closure.saturating_add(1))
    }

    fn code(&mut self, body: &FunctionBody<'_>) -> Result<(), Stop> {
        let mut bytes = body.as_bytes().len() as u64;
        for group in body.get_locals_reader()? {
            let (count, _) = group?;
            bytes = bytes.saturating_add(count.into());
        }
        self.at_least(LoadLimit::FunctionBytes, bytes)?;
        self.more(LoadLimit::CodeBytes, bytes)
    }

    fn core_instance(&mut self, instance: Instance<'_>) -> Result<(), Stop> {
        let (module, arguments) = match &instance {
            Instance::Instantiate { module_index, args } => (Some(*module_index), args.len()),
            Instance::FromExports(exports) => (None, exports.len()),
        };
        self.define(Weight { instances: 1, definitions: 1 + arguments as u64, ..Weight::default() })?;
        match module.and_then(|index| self.frame().modules.get(index as usize).copied()) {
            // There is no such module, as the validator will say; or the instance only gives names to existing items.
            None => Ok(()),
            Some(Ok(weight)) => self.nest(weight),
            Some(Err(origin)) => Err(uncountable("core module", origin)),
        }
    }

    fn instance(&mut self, instance: ComponentInstance<'_>) -> Result<(), Stop> {
        let frame = self.frame();
        let sizes = |items: &mut dyn Iterator<Item = (Kind, u32)>| {
            items.fold(1_u64, |all, (kind, index)| all.saturating_add(frame.size(kind, index)))
        };
        let (component, size) = match &instance {
            ComponentInstance::Instantiate { component_index, args } => {
                (Some(*component_index), sizes(&mut args.iter().map(|arg| (arg.kind, arg.index))))
            }
            ComponentInstance::FromExports(exports) => {
                (None, sizes(&mut exports.iter().map(|export| (export.kind, export.index))))
            }
        };
        let component = component.map(|index| frame.components.get(index as usize).copied());
        self.define(Weight { instances: 1, definitions: size, ..Weight::default() })?;
        let holds = match component {
            None => size,
            // There is no such component, as the validator will say.
            Some(None) => 1,
            Some(Some(Ok(Component { weight, exports, closure }))) => {
                self.nest(weight)?;
                self.define_items(closure)?;
                exports.saturating_add(1)
            }
            Some(Some(Err(origin))) => return Err(uncountable("component", origin)),
        };
        self.frame().instances.push(holds);
        Ok(())
    }

    /// Adds an item whose weight is unknown to an index space of the component. If it is an instance, it holds this much.
    fn item(&mut self, kind: Kind, origin: Unknown, holds: u64) {
        match kind {
            Kind::Component => self.frame().components.push(Err(origin)),
            Kind::Module => self.frame().modules.push(Err(origin)),
            Kind::Instance => self.frame().instances.push(holds),
            Kind::Func | Kind::Value | Kind::Type => {}
        }
    }

    /// Counts an export, which also adds an item to its index space.
    fn export(&mut self, kind: Kind, index: u32) -> Result<(), Stop> {
        let frame = self.frame();
        let size = frame.size(kind, index);
        frame.this.exports = frame.this.exports.saturating_add(size);
        match kind {
            Kind::Component => frame.components.extend(frame.components.get(index as usize).copied()),
            Kind::Module => frame.modules.extend(frame.modules.get(index as usize).copied()),
            Kind::Instance => frame.instances.extend(frame.instances.get(index as usize).copied()),
            Kind::Func | Kind::Value | Kind::Type => {}
        }
        self.define_items(size)
    }
}

fn uncountable(instantiated: &str, origin: Unknown) -> Stop {
    Stop::Refused(ExtensionError::Uncountable { instantiated: instantiated.into(), origin: origin.into() })
}

impl From<BinaryReaderError> for Stop {
    fn from(error: BinaryReaderError) -> Stop {
        Stop::Malformed(error)
    }
}

impl From<ExtensionError> for Stop {
    fn from(error: ExtensionError) -> Stop {
        Stop::Refused(error)
    }
}
