//! Counts aliases, which copy what they name.

use super::{Counter, Stop};
use wasmparser::{ComponentAlias, ComponentExternalKind as Kind, ComponentOuterAliasKind};

impl Counter<'_> {
    pub(super) fn alias(&mut self, alias: ComponentAlias<'_>) -> Result<(), Stop> {
        match alias {
            ComponentAlias::InstanceExport { kind, name, instance_index } => {
                self.name(name)?;
                // The alias holds no more than the instance that it is a part of.
                let holds = self.frame().size(Kind::Instance, instance_index);
                self.item(kind, "an alias of an instance's export", holds);
                self.define_items(if kind == Kind::Instance { holds } else { 1 })
            }
            ComponentAlias::CoreInstanceExport { name, .. } => {
                self.name(name)?;
                self.define_items(1)
            }
            ComponentAlias::Outer { kind, count, index } => self.outer_alias(kind, count as usize, index),
        }
    }

    fn outer_alias(&mut self, kind: ComponentOuterAliasKind, count: usize, index: u32) -> Result<(), Stop> {
        let Some(place) = self.frames.len().checked_sub(1 + count) else { return Ok(()) };
        let outer = &self.frames[place];
        let held = match kind {
            ComponentOuterAliasKind::Component => {
                let (component, size) = (outer.components.get(index as usize).copied(), outer.size(Kind::Component, index));
                self.frame().components.extend(component);
                size
            }
            ComponentOuterAliasKind::CoreModule => {
                let module = outer.modules.get(index as usize).copied();
                self.frame().modules.extend(module);
                1
            }
            ComponentOuterAliasKind::CoreType | ComponentOuterAliasKind::Type => return self.define_items(1),
        };
        // Each component in between holds it, too.
        for frame in &mut self.frames[place + 1..] {
            frame.this.closure = frame.this.closure.saturating_add(held);
        }
        self.define_items(held)
    }
}
