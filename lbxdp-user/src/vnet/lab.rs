//! Laboratories in network namespaces.
