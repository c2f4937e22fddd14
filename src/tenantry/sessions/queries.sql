-- Assistants and conversations: tenantry.assistants, assistant_versions, conversations, messages,
-- tool_calls. `owner` is the tenant that the row itself names, not the one who asks.

-- name: create_assistant
INSERT INTO tenantry.assistants (tenant_id, assistant_id, name, current_version)
VALUES (%(tenant)s, %(assistant_id)s, %(name)s, 1);

-- name: lock_assistant
-- Rows: name, of the assistant, held until the transaction ends: versions are numbered one by one.
SELECT name FROM tenantry.assistants WHERE assistant_id = %(assistant_id)s FOR UPDATE;

-- name: add_assistant_version
-- Rows: the number of the new version.
INSERT INTO tenantry.assistant_versions (
    tenant_id, assistant_id, version, instructions, model, tools, settings, created_by)
SELECT %(tenant)s, %(assistant_id)s, coalesce(max(version), 0) + 1, %(instructions)s, %(model)s,
       %(tools)s::text[], %(settings)s, %(created_by)s
  FROM tenantry.assistant_versions WHERE assistant_id = %(assistant_id)s
RETURNING version;

-- name: point_assistant
-- Touches 0 rows when there is no such version.
UPDATE tenantry.assistants AS a SET current_version = %(version)s
 WHERE a.assistant_id = %(assistant_id)s
   AND EXISTS (SELECT FROM tenantry.assistant_versions AS v
                WHERE v.tenant_id = a.tenant_id AND v.assistant_id = a.assistant_id
                  AND v.version = %(version)s);

-- name: get_assistant
-- Rows: at most one: the given version, or the current one for NULL.
SELECT a.tenant_id AS owner, a.assistant_id, a.name, a.current_version, v.version, v.instructions,
       v.model, v.tools, v.settings, v.created_by, v.created_at
  FROM tenantry.assistants AS a
  JOIN tenantry.assistant_versions AS v
    ON v.tenant_id = a.tenant_id AND v.assistant_id = a.assistant_id
   AND v.version = coalesce(%(version)s::integer, a.current_version)
 WHERE a.assistant_id = %(assistant_id)s;

-- name: find_assistant
-- Rows: as get_assistant, by name.
SELECT a.tenant_id AS owner, a.assistant_id, a.name, a.current_version, v.version, v.instructions,
       v.model, v.tools, v.settings, v.created_by, v.created_at
  FROM tenantry.assistants AS a
  JOIN tenantry.assistant_versions AS v
    ON v.tenant_id = a.tenant_id AND v.assistant_id = a.assistant_id
   AND v.version = coalesce(%(version)s::integer, a.current_version)
 WHERE a.name = %(name)s;

-- name: list_assistants
-- Rows: as get_assistant, at the current version; oldest assistant first, after the given id.
SELECT a.tenant_id AS owner, a.assistant_id, a.name, a.current_version, v.version, v.instructions,
       v.model, v.tools, v.settings, v.created_by, v.created_at
  FROM tenantry.assistants AS a
  JOIN tenantry.assistant_versions AS v
    ON v.tenant_id = a.tenant_id AND v.assistant_id = a.assistant_id
   AND v.version = a.current_version
 WHERE a.assistant_id > %(after)s
 ORDER BY a.assistant_id LIMIT %(limit)s;

-- name: list_assistant_versions
-- Rows: as get_assistant, all versions below `before`, newest first.
SELECT a.tenant_id AS owner, a.assistant_id, a.name, a.current_version, v.version, v.instructions,
       v.model, v.tools, v.settings, v.created_by, v.created_at
  FROM tenantry.assistants AS a
  JOIN tenantry.assistant_versions AS v
    ON v.tenant_id = a.tenant_id AND v.assistant_id = a.assistant_id
 WHERE a.assistant_id = %(assistant_id)s AND v.version < %(before)s
 ORDER BY v.version DESC LIMIT %(limit)s;

-- name: delete_assistant
-- Touches 0 rows when there is none. Its versions and conversations go with it.
DELETE FROM tenantry.assistants WHERE assistant_id = %(assistant_id)s;

-- name: create_conversation
INSERT INTO tenantry.conversations (tenant_id, conversation_id, member_id, assistant_id, title)
VALUES (%(tenant)s, %(conversation_id)s, %(member_id)s, %(assistant_id)s, %(title)s);

-- name: get_conversation
-- Rows: at most one, and only the member's own: another member's is not there.
SELECT c.conversation_id, c.assistant_id, a.name AS assistant, c.title, c.created_at, c.updated_at
  FROM tenantry.conversations AS c
  JOIN tenantry.assistants AS a ON a.tenant_id = c.tenant_id AND a.assistant_id = c.assistant_id
 WHERE c.conversation_id = %(conversation_id)s AND c.member_id = %(member_id)s;

-- name: list_conversations
-- Rows: the member's own, newest first, those older than `before`.
SELECT c.conversation_id, c.assistant_id, a.name AS assistant, c.title, c.created_at, c.updated_at
  FROM tenantry.conversations AS c
  JOIN tenantry.assistants AS a ON a.tenant_id = c.tenant_id AND a.assistant_id = c.assistant_id
 WHERE c.member_id = %(member_id)s AND c.conversation_id < %(before)s
 ORDER BY c.conversation_id DESC LIMIT %(limit)s;

-- name: touch_conversation
-- Touches 0 rows when it is gone or another member's. Locks it: turns are appended one by one.
UPDATE tenantry.conversations SET updated_at = clock_timestamp()
 WHERE conversation_id = %(conversation_id)s AND member_id = %(member_id)s;

-- name: delete_conversation
-- Touches 0 rows when there is none of this member's. Its messages go with it.
DELETE FROM tenantry.conversations
 WHERE conversation_id = %(conversation_id)s AND member_id = %(member_id)s;

-- name: append_message
-- Rows: the message's number.
INSERT INTO tenantry.messages (
    tenant_id, conversation_id, message_no, role, content, citations, attachments, status,
    request_id, assistant_version)
SELECT %(tenant)s, %(conversation_id)s, coalesce(max(message_no), 0) + 1, %(role)s, %(content)s,
       %(citations)s, %(attachments)s, %(status)s, %(request_id)s, %(assistant_version)s
  FROM tenantry.messages WHERE conversation_id = %(conversation_id)s
RETURNING message_no;

-- name: list_messages
-- Rows: messages after the given number, oldest first; of what may not be read any more, its
-- citations without title and quote.
SELECT tenant_id AS owner, message_no, role, content,
       tenantry.readable_citations(citations) AS citations, attachments, status,
       request_id, assistant_version, created_at
  FROM tenantry.messages
 WHERE conversation_id = %(conversation_id)s AND message_no > %(after)s
 ORDER BY message_no LIMIT %(limit)s;

-- name: last_messages
-- Rows: the newest messages, oldest first.
SELECT * FROM (
    SELECT tenant_id AS owner, message_no, role, content, citations, attachments, status,
           request_id, assistant_version, created_at
      FROM tenantry.messages
     WHERE conversation_id = %(conversation_id)s
     ORDER BY message_no DESC LIMIT %(limit)s) AS newest
 ORDER BY message_no;

-- name: add_tool_call
INSERT INTO tenantry.tool_calls (
    tenant_id, conversation_id, tool_call_id, message_no, tool, arguments, outcome, duration_ms,
    row_count, size_bytes)
VALUES (%(tenant)s, %(conversation_id)s, %(tool_call_id)s, %(message_no)s, %(tool)s, %(arguments)s,
        %(outcome)s, %(duration_ms)s, %(row_count)s, %(size_bytes)s);

-- name: list_tool_calls
-- Rows: calls made for the answers with these numbers, in the order in which they ended.
SELECT message_no, tool, arguments, outcome, duration_ms, row_count, size_bytes
  FROM tenantry.tool_calls
 WHERE conversation_id = %(conversation_id)s AND message_no = ANY (%(message_nos)s::integer[])
 ORDER BY tool_call_id;
