//! Counts types, and the declarations within them.

use super::{Counter, Stop};
use crate::load_limits::LoadLimit;
use std::ops::Range;
use wasmparser::{
    ComponentDefinedType, ComponentType, ComponentTypeDeclaration, CoreType, InstanceTypeDeclaration, ModuleTypeDeclaration,
    RecGroup,
};

impl Counter<'_> {
    /// Counts the bytes of a section of types: a type is read as a whole before it can be counted, and takes more memory than it has bytes.
    pub(super) fn type_bytes(&mut self, section: Range<u64>) -> Result<(), Stop> {
        self.more(LoadLimit::TypeBytes, section.end.saturating_sub(section.start))
    }

    pub(super) fn rec_group(&mut self, group: &RecGroup) -> Result<(), Stop> {
        self.more(LoadLimit::Types, group.types().len() as u64)
    }

    pub(super) fn core_type(&mut self, ty: &CoreType<'_>) -> Result<(), Stop> {
        match ty {
            CoreType::Rec(group) => self.rec_group(group),
            CoreType::Module(declarations) => {
                self.more(LoadLimit::Types, 1)?;
                for declaration in declarations {
                    match declaration {
                        ModuleTypeDeclaration::Type(group) => self.rec_group(group)?,
                        ModuleTypeDeclaration::Export { name, .. } => self.name(name)?,
                        ModuleTypeDeclaration::Import(import) => {
                            self.name(import.module)?;
                            self.name(import.name)?;
                        }
                        ModuleTypeDeclaration::OuterAlias { .. } => {}
                    }
                    self.more(LoadLimit::Types, 1)?;
                }
                Ok(())
            }
        }
    }

    /// Counts a type. Each declaration in it counts as a type, too. The reader limits how deep it recurses.
    pub(super) fn component_type(&mut self, ty: &ComponentType<'_>, depth: u64) -> Result<(), Stop> {
        self.more(LoadLimit::Types, 1)?;
        match ty {
            ComponentType::Instance(declarations) => {
                self.at_least(LoadLimit::Nesting, depth)?;
                for declaration in declarations {
                    match declaration {
                        InstanceTypeDeclaration::CoreType(ty) => self.core_type(ty)?,
                        InstanceTypeDeclaration::Type(ty) => self.component_type(ty, depth + 1)?,
                        InstanceTypeDeclaration::Alias(_) => self.more(LoadLimit::Types, 1)?,
                        InstanceTypeDeclaration::Export { name, .. } => {
                            self.name(name.name)?;
                            self.more(LoadLimit::Types, 1)?;
                        }
                    }
                }
            }
            ComponentType::Component(declarations) => {
                self.at_least(LoadLimit::Nesting, depth)?;
                for declaration in declarations {
                    match declaration {
                        ComponentTypeDeclaration::CoreType(ty) => self.core_type(ty)?,
                        ComponentTypeDeclaration::Type(ty) => self.component_type(ty, depth + 1)?,
                        ComponentTypeDeclaration::Alias(_) => self.more(LoadLimit::Types, 1)?,
                        ComponentTypeDeclaration::Export { name, .. } => {
                            self.name(name.name)?;
                            self.more(LoadLimit::Types, 1)?;
                        }
                        ComponentTypeDeclaration::Import(import) => {
                            self.name(import.name.name)?;
                            self.more(LoadLimit::Types, 1)?;
                        }
                    }
                }
            }
            ComponentType::Defined(ty) => self.more(LoadLimit::Types, parts(ty))?,
            ComponentType::Func(ty) => self.more(LoadLimit::Types, ty.params.len() as u64)?,
            ComponentType::Resource { .. } => {}
        }
        Ok(())
    }
}

/// The number of fields, cases or names of a type.
fn parts(ty: &ComponentDefinedType<'_>) -> u64 {
    let parts = match ty {
        ComponentDefinedType::Record(fields) => fields.len(),
        ComponentDefinedType::Variant(cases) => cases.len(),
        ComponentDefinedType::Tuple(types) => types.len(),
        ComponentDefinedType::Flags(names) | ComponentDefinedType::Enum(names) => names.len(),
        _ => 0,
    };
    parts as u64
}
