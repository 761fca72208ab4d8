"""Body serializers, one file each; a serializer is a module-level ``SERIALIZER``."""
