// A SPIR-V module and its record enter; a pipeline and descriptor sets leave.
#include "runtime/device/vulkan_kernel.h"

#include "runtime/device/vulkan_instance.h"
#include <cstring>

namespace attn {

// Drivers crash on an entry point that is not there, so it is looked for first:
// the module's instructions are walked up to the entry points.
static bool has_entry_point(std::span<const uint32_t> code, const std::string &name) {
  constexpr uint32_t op_entry_point = 15, op_function = 54, model_compute = 5;
  for (size_t at = 5; at < code.size();) {
    uint32_t length = code[at] >> 16, opcode = code[at] & 0xffff;
    if (length == 0 || length > code.size() - at || opcode == op_function)
      return false;
    if (opcode == op_entry_point && length > 3 && code[at + 1] == model_compute) {
      const char *text = reinterpret_cast<const char *>(&code[at + 3]);
      if (std::string_view(text, strnlen(text, 4 * (length - 3))) == name)
        return true;
    }
    at += length;
  }
  return false;
}

Status VulkanPipeline::create(const KernelInfo &info, std::span<const std::byte> spirv,
                              VkPipelineCache cache) {
  if (spirv.size() < 20 || spirv.size() % 4)
    return Status::invalid_input("kernel ", info.name, ": its image of ", spirv.size(),
                                 " bytes is no SPIR-V module");
  std::vector<uint32_t> code(spirv.size() / 4);
  std::memcpy(code.data(), spirv.data(), spirv.size());
  if (code[0] != 0x07230203)
    return Status::invalid_input("kernel ", info.name, ": its image is no SPIR-V module");
  if (!has_entry_point(code, info.symbol))
    return Status::invalid_input("kernel ", info.name, ": its image has no entry point ",
                                 info.symbol);

  uint32_t count = static_cast<uint32_t>(info.bindings.size());
  std::vector<VkDescriptorSetLayoutBinding> slots(count + 1);
  for (uint32_t i = 0; i <= count; ++i)
    slots[i] = {
        i, i == 0 ? VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
        1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
  VkDescriptorSetLayoutCreateInfo set_layout = {
      VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO};
  set_layout.bindingCount = count + 1;
  set_layout.pBindings = slots.data();
  ATTN_RETURN_IF_ERROR(
      vulkan_status(table_.vkCreateDescriptorSetLayout(device_, &set_layout, nullptr, &set_layout_),
                    "make a descriptor set layout"));
  VkPipelineLayoutCreateInfo layout = {VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO};
  layout.setLayoutCount = 1;
  layout.pSetLayouts = &set_layout_;
  ATTN_RETURN_IF_ERROR(
      vulkan_status(table_.vkCreatePipelineLayout(device_, &layout, nullptr, &layout_),
                    "make a pipeline layout"));
  VkDescriptorPoolSize sizes[2] = {{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC, kSets},
                                   {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, kSets * count}};
  VkDescriptorPoolCreateInfo pool = {VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO};
  pool.maxSets = kSets;
  pool.poolSizeCount = 2;
  pool.pPoolSizes = sizes;
  ATTN_RETURN_IF_ERROR(vulkan_status(table_.vkCreateDescriptorPool(device_, &pool, nullptr, &pool_),
                                     "make a descriptor pool"));

  VkShaderModuleCreateInfo module_info = {VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO};
  module_info.codeSize = spirv.size();
  module_info.pCode = code.data();
  VkShaderModule module = VK_NULL_HANDLE;
  ATTN_RETURN_IF_ERROR(
      vulkan_status(table_.vkCreateShaderModule(device_, &module_info, nullptr, &module),
                    "make a shader module"));
  VkComputePipelineCreateInfo pipeline = {VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
  // Long launches are cut into several dispatches with a base workgroup.
  pipeline.flags = VK_PIPELINE_CREATE_DISPATCH_BASE;
  pipeline.stage = {VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO};
  pipeline.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  pipeline.stage.module = module;
  pipeline.stage.pName = info.symbol.c_str();
  VkPipelineShaderStageRequiredSubgroupSizeCreateInfo subgroup = {
      VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO};
  subgroup.requiredSubgroupSize = kVulkanSubgroup;
  if (info.features & kFeatureVkSubgroup) {
    pipeline.stage.flags = VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT;
    pipeline.stage.pNext = &subgroup;
  }
  pipeline.layout = layout_;
  VkResult result =
      table_.vkCreateComputePipelines(device_, cache, 1, &pipeline, nullptr, &pipeline_);
  table_.vkDestroyShaderModule(device_, module, nullptr);
  return vulkan_status(result, "compile a kernel").at(info.name);
}

VulkanPipeline::~VulkanPipeline() {
  table_.vkDestroyPipeline(device_, pipeline_, nullptr);
  table_.vkDestroyDescriptorPool(device_, pool_, nullptr);
  table_.vkDestroyPipelineLayout(device_, layout_, nullptr);
  table_.vkDestroyDescriptorSetLayout(device_, set_layout_, nullptr);
}

void VulkanPipeline::forget_sets() {
  table_.vkResetDescriptorPool(device_, pool_, 0);
  sets_.clear();
}

Status VulkanPipeline::descriptor_set(VkBuffer words, VkDeviceSize words_range,
                                      const std::vector<VulkanBinding> &bindings,
                                      VkDescriptorSet &set, bool &full) {
  full = false;
  if (auto known = sets_.find(bindings); known != sets_.end()) {
    set = known->second;
    return {};
  }
  if (sets_.size() == kSets) {
    full = true;
    return {};
  }
  VkDescriptorSetAllocateInfo allocate = {VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO};
  allocate.descriptorPool = pool_;
  allocate.descriptorSetCount = 1;
  allocate.pSetLayouts = &set_layout_;
  ATTN_RETURN_IF_ERROR(vulkan_status(table_.vkAllocateDescriptorSets(device_, &allocate, &set),
                                     "make a descriptor set"));
  std::vector<VkDescriptorBufferInfo> infos(bindings.size() + 1);
  std::vector<VkWriteDescriptorSet> writes(infos.size());
  infos[0] = {words, 0, words_range};
  for (size_t i = 0; i < infos.size(); ++i) {
    if (i > 0)
      infos[i] = {bindings[i - 1].buffer, bindings[i - 1].offset, bindings[i - 1].size};
    writes[i] = {VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
    writes[i].dstSet = set;
    writes[i].dstBinding = static_cast<uint32_t>(i);
    writes[i].descriptorCount = 1;
    writes[i].descriptorType =
        i == 0 ? VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    writes[i].pBufferInfo = &infos[i];
  }
  table_.vkUpdateDescriptorSets(device_, static_cast<uint32_t>(writes.size()), writes.data(), 0,
                                nullptr);
  sets_.emplace(bindings, set);
  return {};
}

} // namespace attn
