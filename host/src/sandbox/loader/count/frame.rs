//! What is known about a component or core module while it is read.

use wasmparser::ComponentExternalKind as Kind;

/// The cost of instantiating something once.
#[derive(Clone, Copy, Default)]
pub(super) struct Weight {
    pub(super) instances: u64,
    pub(super) definitions: u64,
    pub(super) functions: u64,
    pub(super) memories: u64,
    pub(super) tables: u64,
    pub(super) instance_items: u64,
}

impl Weight {
    pub(super) fn add(&mut self, other: Weight) {
        self.instances = self.instances.saturating_add(other.instances);
        self.definitions = self.definitions.saturating_add(other.definitions);
        self.functions = self.functions.saturating_add(other.functions);
        self.memories = self.memories.saturating_add(other.memories);
        self.tables = self.tables.saturating_add(other.tables);
        self.instance_items = self.instance_items.saturating_add(other.instance_items);
    }
}

/// Where an item of an index space comes from, if its weight cannot be known.
pub(super) type Unknown = &'static str;

/// A component, as its users see it.
#[derive(Clone, Copy, Default)]
pub(super) struct Component {
    /// The cost of instantiating the component.
    pub(super) weight: Weight,
    /// The items that an instance of the component holds. The compiler copies them whenever the instance is used.
    pub(super) exports: u64,
    /// The items of surrounding components that the component holds, directly or not. They are copied whenever the component is used or
    /// instantiated.
    pub(super) closure: u64,
}

/// A component or core module that is being read.
#[derive(Default)]
pub(super) struct Frame {
    pub(super) is_module: bool,
    pub(super) this: Component,
    pub(super) components: Vec<Result<Component, Unknown>>,
    pub(super) modules: Vec<Result<Weight, Unknown>>,
    /// The items that each instance holds.
    pub(super) instances: Vec<u64>,
}

impl Frame {
    /// How many items are copied when this item is passed on.
    pub(super) fn size(&self, kind: Kind, index: u32) -> u64 {
        let index = index as usize;
        let inner = match kind {
            Kind::Instance => self.instances.get(index).copied(),
            Kind::Component => self.components.get(index).and_then(|component| component.ok()).map(|component| component.closure),
            Kind::Module | Kind::Func | Kind::Value | Kind::Type => None,
        };
        inner.unwrap_or(0).saturating_add(1)
    }
}
