//! Counts what a component is made of, before anything else reads it.
//!
//! The bytes are a stranger's. Each part is counted against [`LoadLimits`] and only then validated, so that a small file that
//! means something enormous is refused while it is still small. What a component becomes when it is instantiated is counted along
//! nesting: a component in a component counts as often as it is instantiated. Where that cannot be known, the file is refused.

#[cfg(test)]
#[path = "count/tests.rs"]
mod tests;
// The fuzz targets include this file, from where it would be looked for elsewhere.
#[path = "count/types.rs"]
mod types;

use super::error::ExtensionError;
use super::inventory::{Import, Inventory};
use super::limits::{LoadLimit, LoadLimits, PARSERS_NESTING};
use crate::text;
use wasmparser::{
    BinaryReaderError, ComponentAlias, ComponentExternalKind as Kind, ComponentInstance, ComponentOuterAliasKind,
    FuncValidatorAllocations, FunctionBody, Instance, Parser, Payload, ValidPayload, Validator, WasmFeatures,
};

/// What [`crate::compile::configuration`] lets components use: WebAssembly 3.0 without what takes a garbage collector or threads.
const FEATURES: WasmFeatures = WasmFeatures::WASM3
    .union(WasmFeatures::COMPONENT_MODEL)
    .difference(WasmFeatures::GC)
    .difference(WasmFeatures::GC_TYPES)
    .difference(WasmFeatures::EXCEPTIONS)
    .difference(WasmFeatures::THREADS);

/// Counts and validates a component. What was found is in `found` also where the component is refused.
pub(crate) fn count(bytes: &[u8], limits: &LoadLimits, found: &mut Inventory) -> Result<(), ExtensionError> {
    walk(bytes, limits, found).map_err(|error| match error {
        // The parser has a limit of its own, above all that `LoadLimits` may have, and recurses before a type can be counted.
        Stop::Malformed(error) if error.message().contains("nesting is too deep") => {
            ExtensionError::OverLimit { limit: LoadLimit::Nesting, value: limits.nesting, found: PARSERS_NESTING + 1 }
        }
        Stop::Malformed(error) => ExtensionError::NotAComponent(text::error(&error)),
        Stop::Refused(error) => error,
    })
}

/// Why the walk ended before the bytes did.
enum Stop {
    Malformed(BinaryReaderError),
    Refused(ExtensionError),
}

fn walk(bytes: &[u8], limits: &LoadLimits, found: &mut Inventory) -> Result<(), Stop> {
    let mut counter = Counter { limits, found, defined: Weight::default(), frames: Vec::new() };
    counter.at_least(LoadLimit::Bytes, bytes.len() as u64)?;
    // The version of a core module is 1; a component's has a layer beside it.
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

/// What instantiating something once costs.
#[derive(Clone, Copy, Default)]
struct Weight {
    instances: u64,
    definitions: u64,
    functions: u64,
    memories: u64,
    tables: u64,
}

impl Weight {
    fn add(&mut self, other: Weight) {
        self.instances = self.instances.saturating_add(other.instances);
        self.definitions = self.definitions.saturating_add(other.definitions);
        self.functions = self.functions.saturating_add(other.functions);
        self.memories = self.memories.saturating_add(other.memories);
        self.tables = self.tables.saturating_add(other.tables);
    }
}

/// Where an item of an index space comes from, if its weight cannot be known.
type Unknown = &'static str;

/// A component or core module that is being read.
#[derive(Default)]
struct Frame {
    is_module: bool,
    weight: Weight,
    components: Vec<Result<Weight, Unknown>>,
    modules: Vec<Result<Weight, Unknown>>,
}

struct Counter<'a> {
    limits: &'a LoadLimits,
    found: &'a mut Inventory,
    /// All that is defined, whether or not it is instantiated.
    defined: Weight,
    /// The outermost component, and what is being read in it.
    frames: Vec<Frame>,
}

impl Counter<'_> {
    /// There are so many more.
    fn more(&mut self, limit: LoadLimit, count: u64) -> Result<(), Stop> {
        let all = self.found.counts[limit as usize].saturating_add(count);
        self.at_least(limit, all)
    }

    /// There are so many, or so many are in one place.
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
            // Malformed: the validator will say so.
            self.frames.push(Frame::default());
        }
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    fn is_outermost(&self) -> bool {
        self.frames.len() == 1
    }

    /// Something more is to be worked through whenever this component is instantiated.
    fn weigh(&mut self, weight: Weight) -> Result<(), Stop> {
        self.frame().weight.add(weight);
        let Weight { instances, definitions, functions, memories, tables } = self.frame().weight;
        self.at_least(LoadLimit::Instances, instances)?;
        self.at_least(LoadLimit::Definitions, definitions)?;
        self.at_least(LoadLimit::Functions, self.defined.functions.saturating_add(functions))?;
        self.at_least(LoadLimit::Memories, memories)?;
        self.at_least(LoadLimit::Tables, tables)
    }

    /// A core module defines so many memories and tables, which it makes whenever it is instantiated.
    fn define_in_module(&mut self, weight: Weight) -> Result<(), Stop> {
        self.frame().weight.add(weight);
        self.defined.add(weight);
        self.at_least(LoadLimit::Memories, self.defined.memories)?;
        self.at_least(LoadLimit::Tables, self.defined.tables)
    }

    fn define(&mut self, definitions: usize) -> Result<(), Stop> {
        self.weigh(Weight { definitions: definitions as u64, ..Weight::default() })
    }

    fn payload(&mut self, payload: &Payload<'_>) -> Result<(), Stop> {
        match payload {
            Payload::Version { encoding, .. } => {
                self.frames.push(Frame { is_module: *encoding == wasmparser::Encoding::Module, ..Frame::default() });
                // The outermost component is nested in nothing.
                self.at_least(LoadLimit::Nesting, self.frames.len() as u64 - 1)
            }
            Payload::End(_) => self.end(),
            Payload::CustomSection(section) => {
                self.found.producers(section);
                Ok(())
            }

            Payload::ModuleSection { .. } => self.more(LoadLimit::CoreModules, 1),
            Payload::TypeSection(section) => {
                for group in section.clone() {
                    self.rec_group(&group?)?;
                }
                Ok(())
            }
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    let import = import?;
                    self.more(LoadLimit::Imports, 1)?;
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
                // Beside them, there are the canonical functions, which are counted along nesting.
                self.defined.functions = self.defined.functions.saturating_add(section.count().into());
                self.at_least(LoadLimit::Functions, self.defined.functions)
            }
            Payload::TableSection(section) => {
                self.define_in_module(Weight { tables: section.count().into(), ..Weight::default() })
            }
            Payload::MemorySection(section) => {
                self.define_in_module(Weight { memories: section.count().into(), ..Weight::default() })
            }
            Payload::CodeSectionEntry(body) => self.code(body),

            Payload::InstanceSection(section) => {
                section.clone().into_iter().try_for_each(|instance| self.core_instance(instance?))
            }
            Payload::ComponentInstanceSection(section) => {
                section.clone().into_iter().try_for_each(|instance| self.instance(instance?))
            }
            Payload::CoreTypeSection(section) => section.clone().into_iter().try_for_each(|ty| self.core_type(&ty?)),
            Payload::ComponentTypeSection(section) => {
                section.clone().into_iter().try_for_each(|ty| self.component_type(&ty?, self.frames.len() as u64))
            }
            Payload::ComponentAliasSection(section) => section.clone().into_iter().try_for_each(|alias| self.alias(alias?)),
            Payload::ComponentCanonicalSection(section) => {
                let functions = section.count().into();
                self.weigh(Weight { definitions: functions, functions, ..Weight::default() })
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    let import = import?;
                    self.more(LoadLimit::Imports, 1)?;
                    self.define(1)?;
                    self.name(import.name.name)?;
                    let kind = import.ty.kind();
                    self.item(kind, Err("an import"));
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
                    self.define(1)?;
                    self.name(export.name.name)?;
                    self.export(export.kind, export.index);
                    if self.is_outermost() {
                        self.found.exports.push(export.name.full_name().into_owned());
                    }
                }
                Ok(())
            }
            // What is left has as many bytes as it says, and means no more.
            _ => Ok(()),
        }
    }

    fn end(&mut self) -> Result<(), Stop> {
        let Some(Frame { is_module, weight, .. }) = self.frames.pop() else { return Ok(()) };
        match self.frames.last_mut() {
            Some(parent) if is_module => parent.modules.push(Ok(weight)),
            Some(parent) => parent.components.push(Ok(weight)),
            None => {}
        }
        Ok(())
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
        let instantiated = module.and_then(|index| self.frame().modules.get(index as usize).copied());
        self.instantiate("core module", instantiated, arguments)
    }

    fn instance(&mut self, instance: ComponentInstance<'_>) -> Result<(), Stop> {
        let (component, arguments) = match &instance {
            ComponentInstance::Instantiate { component_index, args } => (Some(*component_index), args.len()),
            ComponentInstance::FromExports(exports) => (None, exports.len()),
        };
        let instantiated = component.and_then(|index| self.frame().components.get(index as usize).copied());
        self.instantiate("component", instantiated, arguments)
    }

    /// Something is instantiated: `None` where it is not there, which the validator will say, or where what there is only gets names.
    fn instantiate(&mut self, what: &str, instantiated: Option<Result<Weight, Unknown>>, arguments: usize) -> Result<(), Stop> {
        self.weigh(Weight { instances: 1, definitions: 1 + arguments as u64, ..Weight::default() })?;
        match instantiated {
            None => Ok(()),
            Some(Ok(weight)) => self.weigh(weight),
            Some(Err(origin)) => {
                Err(Stop::Refused(ExtensionError::Uncountable { instantiated: what.into(), origin: origin.into() }))
            }
        }
    }

    /// A new item in an index space of the component's.
    fn item(&mut self, kind: Kind, origin: Result<Weight, Unknown>) {
        match kind {
            Kind::Component => self.frame().components.push(origin),
            Kind::Module => self.frame().modules.push(origin),
            Kind::Func | Kind::Value | Kind::Type | Kind::Instance => {}
        }
    }

    /// What is exported is a new item, too.
    fn export(&mut self, kind: Kind, index: u32) {
        let frame = self.frame();
        match kind {
            Kind::Component => frame.components.extend(frame.components.get(index as usize).copied()),
            Kind::Module => frame.modules.extend(frame.modules.get(index as usize).copied()),
            Kind::Func | Kind::Value | Kind::Type | Kind::Instance => {}
        }
    }

    fn alias(&mut self, alias: ComponentAlias<'_>) -> Result<(), Stop> {
        self.define(1)?;
        match alias {
            ComponentAlias::InstanceExport { kind, name, .. } => {
                self.name(name)?;
                self.item(kind, Err("an alias of an instance's export"));
            }
            ComponentAlias::CoreInstanceExport { name, .. } => self.name(name)?,
            ComponentAlias::Outer { kind, count, index } => {
                let outer = self.frames.len().checked_sub(1 + count as usize).and_then(|place| self.frames.get(place));
                let Some(outer) = outer else { return Ok(()) };
                match kind {
                    ComponentOuterAliasKind::Component => {
                        let component = outer.components.get(index as usize).copied();
                        self.frame().components.extend(component);
                    }
                    ComponentOuterAliasKind::CoreModule => {
                        let module = outer.modules.get(index as usize).copied();
                        self.frame().modules.extend(module);
                    }
                    ComponentOuterAliasKind::CoreType | ComponentOuterAliasKind::Type => {}
                }
            }
        }
        Ok(())
    }
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
