-- Health of a VolumeHealthPolicy for Argo CD: about the policy, not about the volumes (docs/for-programs.md).
local health = {status = "Progressing", message = "not checked yet"}
if obj.spec ~= nil and obj.spec.suspend == true then
  return {status = "Suspended", message = "spec.suspend is true"}
end
if obj.status == nil or obj.status.conditions == nil then
  return health
end
if obj.status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "the newest spec was not looked at yet"}
end
for _, condition in ipairs(obj.status.conditions) do
  if condition.type == "Stalled" and condition.status == "True" then
    return {status = "Degraded", message = condition.message}
  end
  if condition.type == "Ready" and condition.reason == "Suspended" then
    return {status = "Suspended", message = condition.message}
  end
  if condition.type == "Ready" then
    if condition.status == "True" then
      health = {status = "Healthy", message = condition.message}
    elseif condition.status == "False" then
      health = {status = "Degraded", message = condition.message}
    else
      health = {status = "Progressing", message = condition.message}
    end
  end
end
return health
