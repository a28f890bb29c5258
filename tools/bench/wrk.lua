-- bench/wrk.lua: the inserts of bench/client.c by wrk, each with its own id, key and body, and the headers that our
-- client sends. wrk signs nothing: its signature is a constant of the usual length. `request` only joins strings, the
-- least that it can do, and there is no `response`, so that wrk hands no answer to Lua.
--
-- With BENCH_FIXED in the environment it is one insert over and over, which wrk sends without asking Lua: what wrk
-- costs without a script.

local number = 10000000 -- Eight digits each, counting up.
local path = "/dbs/bench/colls/events/docs"
local key_head, key_rest = '["device-', '"]'
local headers = {
    ["User-Agent"] = "aiocosmos/0.1.0",
    ["Accept"] = "application/json",
    ["x-ms-version"] = "2020-07-15",
    ["x-ms-date"] = os.date("!%a, %d %b %Y %H:%M:%S GMT"),
    ["authorization"] = "type%3Dmaster%26ver%3D1.0%26sig%3D" .. string.rep("s", 43) .. "%3D",
    ["Content-Type"] = "application/json",
    ["Prefer"] = "return=minimal",
}
local body_head, body_middle = '{"id":"event-', '","deviceId":"device-'
local body_late = '","temperature":21.5,"humidity":40,"status":"ok","at":"2026-11-20T00:00:00Z","note":"'
local body_rest = string.rep("n", 56) .. '"}'

local function body_of(digits)
    return body_head .. digits .. body_middle .. digits .. body_late .. digits .. body_rest
end

if os.getenv("BENCH_FIXED") then
    wrk.method, wrk.path, wrk.headers, wrk.body = "POST", path, headers, body_of(number)
    headers["x-ms-documentdb-partitionkey"] = key_head .. number .. key_rest
else
    local head, middle

    function init()
        local lines = { "POST " .. path .. " HTTP/1.1", "Host: " .. wrk.host .. ":" .. wrk.port }
        for name, value in pairs(headers) do lines[#lines + 1] = name .. ": " .. value end
        lines[#lines + 1] = "Content-Length: " .. #body_of(number)
        head = table.concat(lines, "\r\n") .. "\r\nx-ms-documentdb-partitionkey: " .. key_head
        middle = key_rest .. "\r\n\r\n" .. body_head
    end

    function request()
        number = number + 1
        local digits = tostring(number)
        return head .. digits .. middle .. digits .. body_middle .. digits .. body_late .. digits .. body_rest
    end
end
