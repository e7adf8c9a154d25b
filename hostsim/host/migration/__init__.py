"""QEMU's pre-copy migration, one module a concept of migration/migration.c and migration/ram.c."""
