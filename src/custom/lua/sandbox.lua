-- What a code finds: the language without anything that reaches outside, loads code, or runs past the limits.
local stopped, clock, date, time = ...

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
local error, getmetatable, pcall, rawget, select, type, xpcall = error, getmetatable, pcall, rawget, select, type, xpcall
local function pass(ok, ...)
    if not ok and stopped() then error((...), 0) end
    return ok, ...
end
function _G.pcall(f, ...) return pass(pcall(f, ...)) end
function _G.xpcall(f, handler, ...) return pass(xpcall(f, handler, ...)) end

-- A finalizer would run where it cannot be stopped.
local setmetatable = setmetatable
function _G.setmetatable(t, meta)
    if type(meta) == "table" and rawget(meta, "__gc") ~= nil then error("__gc is not allowed here", 2) end
    return setmetatable(t, meta)
end

-- These loop over whatever length a table claims to have.
for _, name in ipairs({ "insert", "remove" }) do
    local original = table[name]
    table[name] = function(t, ...)
        if getmetatable(t) ~= nil then error("table." .. name .. " takes tables without a metatable here", 2) end
        return original(t, ...)
    end
end
local move = table.move
function table.move(a, first, last, ...)
    if last - first > 10000000 then error("table.move: too many elements to move", 2) end
    return move(a, first, last, ...)
end
