"""A Kafka that checks rights, and the rights of a login on it, given and taken away."""

from __future__ import annotations

from collections.abc import Sequence

from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
)

LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
PASSWORD = "right"
PROPERTIES = {
    "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN",
    "listener.name.sasl.plain.sasl.jaas.config": f'{LOGIN} user_gauge="{PASSWORD}";',
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
}
"""Settings of a broker on which `gauge` may do nothing; everybody on the plain listener may do everything."""
Right = tuple[ResourceType, str, bool, tuple[ACLOperation, ...]]
"""Kind and name of a resource, whether the name is a prefix, and what may be done."""
READ, WRITE, DESCRIBE, CREATE = (
    ACLOperation.READ,
    ACLOperation.WRITE,
    ACLOperation.DESCRIBE,
    ACLOperation.CREATE,
)


def needed(topic: str, prefix: str, group: str, identity: str) -> tuple[Right, ...]:
    """The rights that docs/operate.md lists."""
    return (
        (ResourceType.TOPIC, topic, False, (READ,)),
        (ResourceType.GROUP, group, False, (READ,)),
        (ResourceType.TOPIC, f"{prefix}.", True, (WRITE, DESCRIBE, CREATE)),
        (ResourceType.TOPIC, f"{prefix}.state", False, (READ,)),
        (ResourceType.TOPIC, f"{prefix}.decisions", False, (READ,)),
        (ResourceType.TRANSACTIONAL_ID, identity, False, (WRITE, DESCRIBE)),
    )


def grant(bootstrap: str, rights: Sequence[Right]) -> None:
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        outcome = admin.create_acls(_of(ACL, rights))
        assert not outcome["failed"], outcome


def revoke(bootstrap: str, rights: Sequence[Right]) -> None:
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        for _, removed, error in admin.delete_acls(_of(ACLFilter, rights)):
            assert removed
            assert error.errno == 0, error


def _of(made: type[ACLFilter], rights: Sequence[Right]) -> list[ACLFilter]:
    return [
        made(
            "User:gauge",
            "*",
            operation,
            ACLPermissionType.ALLOW,
            ResourcePattern(
                kind,
                name,
                ACLResourcePatternType.PREFIXED if is_prefix else ACLResourcePatternType.LITERAL,
            ),
        )
        for kind, name, is_prefix, operations in rights
        for operation in operations
    ]
