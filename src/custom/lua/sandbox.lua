-- What a code finds: the language without anything that reaches outside, loads code, or runs past the limits.
local stopped, clock, date, time, bytes_max = ...

local next = next
local keep = {
    "assert", "error", "getmetatable", "ipairs", "math", "next", "pairs", "pcall", "rawequal", "rawget", "rawlen", "rawset",
    "select", "setmetatable", "string", "table", "tonumber", "tostring", "type", "utf8", "xpcall",
}
local all, kept = _G, {}
for _, name in ipairs(keep) do kept[name] = all[name] end
for name in next, all do all[name] = nil end
for name, value in next, kept do all[name] = value end
all._G, all._VERSION = all, "Lua 5.4"
os = { clock = clock, date = date, time = time }
string.dump = nil

-- A code that is being stopped cannot catch that.
local error, getmetatable, pcall, rawget, select, type = error, getmetatable, pcall, rawget, select, type
local function pass(ok, ...)
    if not ok and stopped() then error((...), 0) end
    return ok, ...
end
local function safely(f, ...) return pass(pcall(f, ...)) end
_G.pcall = safely
-- The handler runs after the fact: within it nothing would stop a code.
local function handle(handler, ok, ...)
    if ok then return true, ... end
    if stopped() then error((...), 0) end
    return false, select(2, safely(handler, ...))
end
function _G.xpcall(f, handler, ...) return handle(handler, pcall(f, ...)) end

-- A finalizer would run where it cannot be stopped.
local setmetatable = setmetatable
function _G.setmetatable(t, meta)
    if type(meta) == "table" and rawget(meta, "__gc") ~= nil then error("__gc is not allowed here", 2) end
    return setmetatable(t, meta)
end

-- All texts share one: who could change it would change them for the library, too.
getmetatable("").__metatable = "string"

-- Nothing, however often; and what there is no memory for, whose line nobody would know.
local rep = string.rep
function string.rep(s, count, between)
    if type(count) == "number" and type(s) == "string" then
        local bytes = #s + (type(between) == "string" and #between or 0)
        if bytes == 0 then count = 1 end
        if bytes * (count + 0.0) > bytes_max then error("not enough memory") end
    end
    return rep(s, count, between)
end

-- These loop over whatever length a table claims to have.
for _, name in ipairs({ "insert", "remove", "sort" }) do
    local original = table[name]
    table[name] = function(t, ...)
        if getmetatable(t) ~= nil then error("table." .. name .. " takes tables without a metatable here", 2) end
        return original(t, ...)
    end
end
local concat, move, tonumber, unpack = table.concat, table.move, tonumber, table.unpack
local function bound(name, first, last, ...)
    local most = 10000000
    for at = 1, select("#", ...) do
        if getmetatable((select(at, ...))) ~= nil then most = 100000 end
    end
    first, last = tonumber(first), tonumber(last)
    -- As a float, which does not wrap around.
    if first and last and last + 0.0 - first > most then error("table." .. name .. ": too many elements", 3) end
end
function table.concat(t, between, first, last)
    if type(t) == "table" then last = last or #t end
    first = first or 1
    bound("concat", first, last, t)
    return concat(t, between, first, last)
end
function table.unpack(t, first, last)
    if type(t) == "table" then last = last or #t end
    first = first or 1
    bound("unpack", first, last, t)
    return unpack(t, first, last)
end
function table.move(a, first, last, to, ...)
    bound("move", first, last, a, ...)
    return move(a, first, last, to, ...)
end
