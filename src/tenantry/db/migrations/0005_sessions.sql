-- Assistants (versioned), conversations, messages and tool calls (CTX-1, DB-2).

CREATE TABLE tenantry.assistants (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (tenant_id),
    assistant_id uuid NOT NULL,
    name text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    current_version integer NOT NULL CHECK (current_version >= 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, assistant_id),
    UNIQUE (tenant_id, name)
);
ALTER TABLE tenantry.assistants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.assistants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.assistants TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
GRANT SELECT, INSERT, UPDATE, DELETE ON tenantry.assistants TO tenantry_tenant;

CREATE TABLE tenantry.assistant_versions (
    tenant_id uuid NOT NULL,
    assistant_id uuid NOT NULL,
    version integer NOT NULL CHECK (version >= 1),
    instructions text NOT NULL CHECK (length(instructions) <= 20000),
    model text NOT NULL,
    tools text[] NOT NULL,
    settings jsonb NOT NULL DEFAULT '{}',
    created_by uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, assistant_id, version),
    FOREIGN KEY (tenant_id, assistant_id) REFERENCES tenantry.assistants (tenant_id, assistant_id)
        ON DELETE CASCADE
);
ALTER TABLE tenantry.assistant_versions ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.assistant_versions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.assistant_versions TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
GRANT SELECT, INSERT ON tenantry.assistant_versions TO tenantry_tenant;

CREATE TABLE tenantry.conversations (
    tenant_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    member_id uuid NOT NULL,
    assistant_id uuid NOT NULL,
    title text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, conversation_id),
    FOREIGN KEY (tenant_id, member_id) REFERENCES tenantry.members (tenant_id, member_id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, assistant_id) REFERENCES tenantry.assistants (tenant_id, assistant_id) ON DELETE CASCADE
);
CREATE INDEX conversations_by_member ON tenantry.conversations (tenant_id, member_id, conversation_id DESC);
ALTER TABLE tenantry.conversations ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.conversations FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.conversations TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
GRANT SELECT, INSERT, UPDATE, DELETE ON tenantry.conversations TO tenantry_tenant;

CREATE TABLE tenantry.messages (
    tenant_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    message_no integer NOT NULL CHECK (message_no >= 1),
    role text NOT NULL CHECK (role IN ('user', 'assistant')),
    content text NOT NULL,
    citations jsonb NOT NULL DEFAULT '[]',
    status text NOT NULL DEFAULT 'complete' CHECK (status IN ('complete', 'cut', 'failed')),
    request_id text NOT NULL DEFAULT '',
    assistant_version integer,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, conversation_id, message_no),
    FOREIGN KEY (tenant_id, conversation_id)
        REFERENCES tenantry.conversations (tenant_id, conversation_id) ON DELETE CASCADE
);
ALTER TABLE tenantry.messages ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.messages FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.messages TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
GRANT SELECT, INSERT ON tenantry.messages TO tenantry_tenant;

CREATE TABLE tenantry.tool_calls (
    tenant_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    tool_call_id uuid NOT NULL,
    message_no integer NOT NULL,
    tool text NOT NULL,
    arguments text NOT NULL, -- as the model wrote them, whether JSON or not
    outcome text NOT NULL CHECK (outcome IN ('ok', 'error', 'refused')),
    duration_ms bigint NOT NULL,
    row_count bigint NOT NULL,
    size_bytes bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, conversation_id, tool_call_id),
    FOREIGN KEY (tenant_id, conversation_id, message_no)
        REFERENCES tenantry.messages (tenant_id, conversation_id, message_no) ON DELETE CASCADE
);
ALTER TABLE tenantry.tool_calls ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.tool_calls FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.tool_calls TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
GRANT SELECT, INSERT ON tenantry.tool_calls TO tenantry_tenant;
