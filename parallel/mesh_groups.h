// Process groups of a mesh's axes, made when first asked for. Not here: the arithmetic of the mesh (parallel/mesh.h).
#pragma once
#include <map>
#include <string>

#include "parallel/comm/process_group.h"
#include "parallel/mesh.h"

namespace nemo {

// All ranks of a group must ask for it at the same point of their program: making one is a collective.
class MeshGroups {
 public:
  // The factory must outlive this; CommError when its rank or world size is not the mesh's.
  MeshGroups(Mesh mesh, GroupFactory& factory);

  const Mesh& mesh() const { return mesh_; }
  GroupFactory& factory() { return factory_; }  // for groups that are no plane of the mesh
  ProcessGroup group(Axes axes);  // the plane of these axes through this rank, e.g. {Axis::data, Axis::context}
  ProcessGroup world();
  ProcessGroup shard();    // Mesh::shard_members
  ProcessGroup replica();  // Mesh::replica_members

 private:
  ProcessGroup made(const std::string& name, const std::vector<int>& ranks);

  Mesh mesh_;
  GroupFactory& factory_;
  std::map<std::string, ProcessGroup> groups_;
};

}  // namespace nemo
